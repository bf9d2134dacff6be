//! The built program as a test's companion: a site's repository, an agent that follows it, and the commands that people
//! give. Everything is in one temporary folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tidegate::client::Client;
use tidegate::signature;
use tidegate::source::{clone_repository, commit_all, init_bare_repository, push};
use tidegate::status::Status;
use tidegate::whereabouts::Whereabouts;
use tidegate_core::snapshot::Identity;
use tidegate_schema::finding::Lang;
use tokio::time::Instant;

use crate::canary;

/// How long anything may take before it counts as never: machines are slow and shared.
const PATIENCE: Duration = Duration::from_mins(3);

/// The program beside the tests, which a build of the workspace makes.
///
/// # Panics
/// When it is not there or older than what it is made from: a test of an old program would prove nothing.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("a path of the test");
    let folder = tests.ancestors().nth(2).expect("a folder above the tests");
    let path = folder.join("tidegate");
    let built = modified(&path);
    // Cargo's own list of what the program was made from: `PROGRAM: FILE FILE …`.
    let list = std::fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    let sources = list.split_once(": ").map(|(_, files)| files).unwrap_or_default();
    let newest = sources.split_whitespace().filter_map(|file| modified(Path::new(file))).max();
    assert!(
        built.is_some() && built >= newest,
        "{} is missing or old; run `cargo build -p tidegate` first, or test the whole workspace",
        path.display()
    );
    path
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// A site: its repository, a working copy, the keys of its people, and an agent once it is started.
#[derive(Debug)]
pub struct TestSite {
    folder: TempDir,
    keys: BTreeMap<String, PathBuf>,
    lookup: Vec<String>,
    agent: Option<Child>,
}

impl TestSite {
    /// An empty repository.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lookup = ["--image-lookup", "off"].map(str::to_owned).to_vec();
        let site = Self { folder, keys: BTreeMap::new(), lookup, agent: None };
        init_bare_repository(&site.bare()).expect("a repository");
        clone_repository(&site.bare(), &site.work()).expect("a working copy");
        site
    }

    fn bare(&self) -> PathBuf {
        self.folder.path().join("site.git")
    }

    /// The working copy.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// The agent's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Copies a folder into the working copy.
    pub fn copy(&self, from: &Path, to: &str) {
        copy(from, &self.work().join(to));
    }

    /// Writes a file of the working copy.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.work().join(file);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Replaces a text in a file of the working copy.
    ///
    /// # Panics
    /// When the text is not there: the test would go on with another site than it says.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.work().join(file);
        let text = std::fs::read_to_string(&path).expect("a file to edit");
        assert!(text.contains(from), "{file} has no {from:?}");
        std::fs::write(path, text.replace(from, to)).expect("a file");
    }

    /// Removes a file or a folder of the working copy.
    pub fn remove(&self, path: &str) {
        let path = self.work().join(path);
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        removed.expect("something to remove");
    }

    /// Puts a kubeconfig into the data folder, for a `Cluster` document that names the file.
    pub fn connect(&self, file: &str, kubeconfig: &Path) {
        std::fs::create_dir_all(self.data()).expect("a data folder");
        std::fs::copy(kubeconfig, self.data().join(file)).expect("a kubeconfig");
    }

    /// Makes a key for a person, and gives the public half for their document.
    pub fn key_of(&mut self, person: &str) -> String {
        let pair = signature::generate_key(person).expect("a key");
        let path = self.folder.path().join(format!("{person}.key"));
        std::fs::write(&path, pair.private.expose()).expect("a key file");
        self.keys.insert(person.to_owned(), path);
        pair.public.clone()
    }

    /// Commits everything as somebody and pushes it.
    pub fn push(&self, who: (&str, &str), message: &str) {
        let by = Identity { name: who.0.to_owned(), email: who.1.to_owned() };
        commit_all(&self.work(), message, &by, Timestamp::now()).expect("a commit");
        push(&self.work(), "main").expect("a push");
    }

    /// How the agent looks up images, as its flags: without it no registry is asked, as tests stay on loopback.
    pub fn looks_up_images(&mut self, flags: &[&str]) {
        self.lookup = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// Starts an agent of the repository. Its log is in the data folder, and is printed when the test fails.
    pub fn start_agent(&mut self, kubeconfigs: &[(&str, PathBuf)]) {
        std::fs::create_dir_all(self.data()).expect("a data folder");
        let log = File::create(self.data().join("agent.log")).expect("a log");
        let mut command = self.command(&[]);
        command.arg("agent").arg("--repo").arg(self.bare()).args(["--branch", "main"]);
        command.arg("--data").arg(self.data()).args(["--listen", "127.0.0.1:0"]);
        command.args(["--poll-interval", "2s", "--log-format", "text"]);
        command.args(&self.lookup);
        for (cluster, path) in kubeconfigs {
            command.arg("--kubeconfig").arg(format!("{cluster}={}", path.display()));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.agent = Some(child.expect("an agent"));
    }

    /// Ends the agent as a power failure does.
    ///
    /// # Panics
    /// When none was started.
    pub fn kill_agent(&mut self) {
        let mut agent = self.agent.take().expect("an agent");
        agent.kill().expect("an end");
        agent.wait().expect("an end");
    }

    /// The process of the agent that was started.
    pub fn agent(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.current_dir(self.work()).args(arguments).env("LC_ALL", "C.UTF-8");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEGATE_")) {
            command.env_remove(name);
        }
        command
    }

    /// Gives a command of the program to the agent.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.arg("--data").arg(self.data());
        canary::searched(command.output().expect("the program to run"))
    }

    /// Gives a command that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        out
    }

    /// Somebody signs a plan and pushes the approval to the repository.
    pub fn approve(&self, person: &str, plan: &str) {
        let key = self.keys.get(person).expect("a person with a key").display().to_string();
        let bare = self.bare().display().to_string();
        self.must(&["approve", plan, "--key", &key, "--as", person, "--push", "--repo", &bare]);
    }

    /// Asks the agent's API.
    pub async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Option<T> {
        let there = Whereabouts::read(&self.data())?;
        let client = Client::new(&there.url, there.token(), Lang::En).ok()?;
        let answer: serde_json::Value = client.get(path).await.ok()?;
        canary::assert_none(path, answer.to_string());
        serde_json::from_value(answer).ok()
    }

    /// Waits until the release under way waits for something, which is a code of `RELEASE`.
    pub async fn see_wait(&mut self, code: &str) {
        let waits = |status: &Status| {
            let mut waits = status.release.iter().flat_map(|release| &release.waits);
            waits.any(|wait| wait.code == code).then_some(())
        };
        self.see(&format!("a release that waits: {code}"), waits).await;
    }

    /// Waits until the status shows something, and gives what it shows.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`], or the agent ended.
    pub async fn see<T>(&mut self, what: &str, shows: impl FnMut(&Status) -> Option<T>) -> T {
        self.see_within(PATIENCE, what, shows).await
    }

    /// The same, where it may take its time.
    pub async fn see_within<T>(
        &mut self,
        patience: Duration,
        what: &str,
        mut shows: impl FnMut(&Status) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        loop {
            let status: Option<Status> = self.ask("/api/v1/status").await;
            if let Some(seen) = status.as_ref().and_then(&mut shows) {
                return seen;
            }
            let ended = self.agent.as_mut().and_then(|agent| agent.try_wait().ok()?);
            let is_over = ended.is_some() || Instant::now() > deadline;
            assert!(!is_over, "not seen: {what}; {ended:?}\n{}", self.told(status.as_ref()));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The status and the end of the log, for a test that failed.
    fn told(&self, status: Option<&Status>) -> String {
        let status = status.map(|status| {
            let mut status = status.clone();
            status.drift.truncate(3);
            serde_json::to_string_pretty(&status).unwrap_or_default()
        });
        let log = std::fs::read_to_string(self.data().join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default();
        format!("{}\n{}", status.unwrap_or_default(), tail.join("\n"))
    }
}

impl Default for TestSite {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestSite {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // An agent that ended by itself was seen; nothing is left to be told.
            drop(agent.kill());
            drop(agent.wait());
        }
        // Its log, its journal and its mirror, and what it handed back to the repository.
        canary::assert_none_kept(&[&self.data(), &self.bare()]);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
