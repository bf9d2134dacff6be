//! The demo: a day of a bank's site, on simulated clusters, with the agent as it is.
//!
//! Nothing is played back: a repository is made and committed to, approvals are signed with keys made for it, and every
//! line tells what the agent's own status and the clusters say.

mod acts;
mod stage;
mod voice;

use std::path::PathBuf;

/// How the demo is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Plays through without waiting for Enter.
    pub is_unattended: bool,
    /// Where everything is made, and kept; a temporary folder, removed at the end, when absent.
    pub folder: Option<PathBuf>,
    /// Whether what is told goes to standard error, because programs read the output.
    pub is_aside: bool,
}

/// How a demo went that came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Played {
    /// Releases in the journal.
    pub releases: usize,
    /// How long it took.
    pub seconds: f32,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something on this machine could not be made.
    #[error("failed to {what}")]
    Stage {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The agent did not come where it should within a minute.
    #[error("failed to see {what} within {seconds} s; the site's condition is {condition}")]
    NotSeen {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// The status at the end.
        condition: String,
    },
}

fn staging<E: std::error::Error + Send + Sync + 'static>(
    what: impl Into<String>,
) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |source| Error::Stage { what, source: Box::new(source) }
}

/// Plays the day.
///
/// # Errors
///
/// When something on this machine could not be made, or an act did not come to its end.
pub async fn run(options: Options) -> Result<Played, Error> {
    let mut voice = voice::Voice::new(options.is_unattended, options.is_aside);
    let mut stage = stage::Stage::set(&options, &mut voice).await?;
    let played = acts::play(&mut stage, &mut voice).await;
    let releases = stage.handle.status().releases.len();
    stage.strike().await;
    played.map(|()| Played { releases, seconds: voice.seconds() })
}
