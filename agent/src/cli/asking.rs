//! How commands find the agent that they ask.

use std::path::{Path, PathBuf};

use tidegate_schema::finding::Finding;

use super::failure::{Failure, usage};
use super::printer::Printer;
use crate::client::Client;
use crate::secret::Secret;
use crate::whereabouts::Whereabouts;

/// The agent to ask: by its address, or by its data folder on this machine.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Asking {
    /// Address of the agent, http://HOST:PORT; with `TIDEGATE_TOKEN` when it wants one.
    #[arg(long, env = "TIDEGATE_AGENT", hide_env_values = true, value_name = "URL")]
    agent: Option<String>,
    /// The agent's data folder on this machine.
    #[arg(long, env = "TIDEGATE_DATA", hide_env_values = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Asking {
    /// The agent's data folder, when it is on this machine.
    pub(super) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The agent; nothing has been asked of it yet.
    pub(super) fn client(&self, printer: &Printer) -> Result<Client, Failure> {
        let token = std::env::var("TIDEGATE_TOKEN").ok().and_then(|token| Secret::new(&token));
        if let Some(url) = &self.agent {
            return Ok(Client::new(url, token, printer.lang)?);
        }
        let Some(data) = &self.data else {
            return Err(usage(Finding::error("COMMAND/WHICH_AGENT")));
        };
        running(data, printer)
            .ok_or_else(|| Finding::error("COMMAND/NO_AGENT").with("path", data.display()).into())
    }
}

/// The agent that says in its data folder where it is.
pub(super) fn running(data: &Path, printer: &Printer) -> Option<Client> {
    let there = Whereabouts::read(data)?;
    Client::new(&there.url, there.token(), printer.lang).ok()
}

/// Refuses to go on while an agent works with the data folder.
pub(super) async fn refuse_running(data: &Path, printer: &Printer) -> Result<(), Failure> {
    if let Some(client) = running(data, printer)
        && client.text("/healthz").await.is_ok()
    {
        return Err(Finding::error("COMMAND/AGENT_RUNS").with("path", data.display()).into());
    }
    Ok(())
}

/// Who asks, for the record.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Who {
    /// Who asks, for the record. Default: this machine's user.
    #[arg(long = "as", env = "TIDEGATE_PERSON", hide_env_values = true, value_name = "PERSON")]
    pub(super) person: Option<String>,
}

impl Who {
    /// The name.
    pub(super) fn name(&self) -> String {
        let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
        self.person.clone().or_else(user).unwrap_or_else(|| "unknown".to_owned())
    }
}
