//! The agent as its operator runs it: a process with a data folder, asked over its API and by the commands.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::client::{Client, Error};
use tidegate::status::Status;
use tidegate::whereabouts::Whereabouts;
use tidegate_schema::finding::Lang;

use crate::canary;

/// Longer than anything takes on a machine that has other things to do: an agent that is killed again and again starts
/// again as often.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

/// What an agent is started with.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) repository: String,
    pub(crate) data: PathBuf,
    /// How often the repository is asked.
    pub(crate) poll: &'static str,
    /// `ulimit -f`, in blocks of 512 bytes: no file of the process grows beyond it.
    pub(crate) largest_file: Option<u64>,
}

impl Given {
    pub(crate) fn new(repository: &Path, data: &Path) -> Self {
        let repository = repository.display().to_string();
        Self { repository, data: data.to_owned(), poll: "1s", largest_file: None }
    }

    /// Where the agent's log goes; all lives of one folder share it.
    pub(crate) fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Where the agent says at which addresses it is; a line for each life.
    fn said(&self) -> PathBuf {
        self.data.with_extension("said")
    }

    /// The addresses of a name, asked of the agent's DNS server.
    pub(crate) async fn address(&self, name: &str) -> Vec<String> {
        let said = std::fs::read_to_string(self.said()).unwrap();
        let last = said.rsplit_once('}').unwrap().0;
        let last = &last[last.rfind("\n{").map_or(0, |at| at + 1)..];
        let last: Value = serde_json::from_str(&format!("{last}}}")).unwrap();
        let server = last["dns"][0].as_str().unwrap().parse().unwrap();
        tidegate::dns::ask(server, name).await.unwrap()
    }

    /// Starts a life.
    pub(crate) fn start(&self) -> Running {
        let mut command = match self.largest_file {
            None => Command::new(env!("CARGO_BIN_EXE_tidegate")),
            Some(blocks) => {
                // Without the trap the system would end the process instead of refusing the write.
                let mut shell = Command::new("sh");
                let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script, env!("CARGO_BIN_EXE_tidegate")]);
                shell
            }
        };
        forget_environment(&mut command);
        command
            .args(["agent", "--repo", &self.repository, "--data"])
            .arg(&self.data)
            .args(["--listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0"])
            .args(["--poll-interval", self.poll, "--log-format", "text", "--format", "json"])
            .env("TIDEGATE_HOOK_SECRET", HOOK_SECRET)
            .stdin(Stdio::null())
            .stdout(append(&self.said()))
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Not a file of the process' own: what it may write to files is limited in some lives.
        let (mut told, mut log) = (child.stderr.take().unwrap(), append(&self.log()));
        std::thread::spawn(move || std::io::copy(&mut told, &mut log));
        Running { child, given: self.clone() }
    }

    /// Waits until the log says something; what the process wrote last may come after its end.
    pub(crate) async fn says(&self, wanted: &str) {
        let start = Instant::now();
        while !std::fs::read_to_string(self.log()).is_ok_and(|log| log.contains(wanted)) {
            self.patience(start, wanted, None);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A command that asks this agent, in English.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        forget_environment(&mut command);
        command.args(arguments).arg("--data").arg(&self.data).args(["--lang", "en"]);
        canary::searched(command.output().unwrap())
    }

    /// The agent's API; none before it has said where it is.
    pub(crate) fn client(&self) -> Option<Client> {
        let there = Whereabouts::read(&self.data)?;
        Client::new(&there.url, there.token(), Lang::En).ok()
    }

    /// The status, when somebody answers.
    pub(crate) async fn status(&self) -> Option<Status> {
        let status: Value = self.client()?.get("/api/v1/status").await.ok()?;
        canary::assert_none("the status", status.to_string());
        serde_json::from_value(status).ok()
    }

    /// A command to the release under way. Nobody may answer, as the agent may be dead; or refuse, as it may have heard
    /// the command in its life before.
    pub(crate) async fn command(&self, body: Value) -> Result<(), String> {
        let Some(client) = self.client() else { return Err("nobody answers".to_owned()) };
        let mut body = body;
        body["by"] = json!("wang-wei");
        match client.post("/api/v1/releases/current/commands", &body).await {
            Ok(_) => Ok(()),
            Err(Error::Refused(findings)) => Err(findings[0].code.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Confirms everything that waits for it.
    pub(crate) async fn confirm(&self, status: &Status) {
        for wait in status.release.iter().flat_map(|release| &release.waits) {
            let asked = match &*wait.code {
                "RELEASE/AWAIT_CONFIRM" => json!({"command": "confirm", "step": wait.args["step"]}),
                "RELEASE/AWAIT_WAVE_CONFIRM" => json!({"command": "confirm"}),
                _ => continue,
            };
            // It may have been heard in the life before.
            let _heard = self.command(asked).await;
        }
    }

    /// Waits until the status shows something.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut shows: impl FnMut(&Status) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        let mut last = None;
        loop {
            if let Some(status) = self.status().await {
                if let Some(seen) = shows(&status) {
                    return seen;
                }
                last = Some(status);
            }
            self.patience(start, what, last.as_ref());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fails with all that is known when it has taken too long.
    pub(crate) fn patience(&self, start: Instant, what: &str, last: Option<&Status>) {
        if start.elapsed() < PATIENCE {
            return;
        }
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(60).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        let status = last.map(|it| serde_json::to_string(it).unwrap()).unwrap_or_default();
        panic!("not in time: {what}\n{status}\n{}", lines.join("\n"));
    }
}

/// What forges share with the agent.
pub(crate) const HOOK_SECRET: &str = "canary-7f3a91 of the forge";

/// A life of the agent. It ends with this value, as a test that fails must leave nothing behind.
pub(crate) struct Running {
    child: Child,
    given: Given,
}

impl Running {
    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The exit code, once it has ended by itself.
    pub(crate) fn code(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }
}

impl Running {
    /// Waits until it has ended by itself; gives the exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(code) = self.code() {
                return code;
            }
            assert!(start.elapsed() < PATIENCE, "the agent does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has ended by itself, or the status shows something.
    pub(crate) async fn ended_or(
        &mut self,
        given: &Given,
        shows: impl FnMut(&Status) -> Option<()>,
    ) {
        let code = async {
            while self.code().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = code => {}
            () = given.until("settled, or ended", shows) => {}
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.code().is_none() {
            self.kill();
        }
        let Given { data, .. } = &self.given;
        canary::assert_none_kept(&[data, &self.given.log(), &self.given.said()]);
    }
}

/// What the caller's environment says about agents is not meant for this one.
fn forget_environment(command: &mut Command) {
    command.env("LC_ALL", "C.UTF-8");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}
