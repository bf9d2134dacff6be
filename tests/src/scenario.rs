//! Scenarios: a small site, steps, and what an operator reads meanwhile.
//!
//! The agent is the real one, on a real repository and a real journal; the clusters are sandboxes. Time stands still but
//! where a step lets it pass, so the same steps give the same text.

mod plain;
mod stage;
mod step;

use std::path::Path;

use stage::Stage;
use step::{Scenario, Step};

/// Plays the scenario of a folder; gives what an operator reads.
///
/// # Errors
///
/// Why it could not be played to its end, with what was read until then.
pub fn play(folder: &Path) -> Result<String, String> {
    let scenario = Scenario::read(folder)?;
    // Time is paused before anything runs, and a blocking task that lasts keeps tokio from moving it by itself whenever
    // everybody waits for a socket or a file.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().map_err(|it| it.to_string())?;
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let played = runtime.block_on(async {
        let hold = tokio::task::spawn_blocking(move || ended.recv().is_ok());
        let played = Box::pin(played(&scenario)).await;
        drop(end);
        // It says that its other end is gone, which is how it is to end.
        let _gone = hold.await;
        played
    });
    runtime.shutdown_background();
    played
}

async fn played(scenario: &Scenario) -> Result<String, String> {
    let mut stage = Stage::set(scenario).await?;
    play_all(&mut stage, "before", &scenario.before).await?;
    if !scenario.before.is_empty() {
        stage.begin(&scenario.about);
    }
    play_all(&mut stage, "steps", &scenario.steps).await?;
    stage.look_for_secrets()?;
    let told = stage.told();
    stage.strike().await?;
    Ok(told)
}

async fn play_all(stage: &mut Stage, list: &str, steps: &[Step]) -> Result<(), String> {
    for (index, step) in steps.iter().enumerate() {
        if let Err(problem) = stage.take(step).await {
            let number = index + 1;
            return Err(format!("{}{list} {number} ({step:?}): {problem}", stage.told()));
        }
    }
    Ok(())
}
