//! The tutorial, played: every command of `docs/tutorial.md` is run as a newcomer would, in order, by a shell, and what
//! it prints is compared with what the page shows. Digests, times and addresses are anybody's own.
//!
//! People take seconds between commands and look again when nothing has happened yet; so does this test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../tests/src/canary.rs"]
#[expect(unreachable_pub, reason = "the tests across crates have it in their library")]
mod canary;

/// How long a command may take to print what the page shows.
const PATIENCE: Duration = Duration::from_mins(2);
/// Exit codes that say something and are no failure: differences exist, something is in the way, refused.
const SPEAKING: &[&str] = &["tidegate diff", "tidegate plan", "tidegate why", "tidegate validate"];

/// A command with what it prints; nothing when the page does not show it.
#[derive(Debug)]
struct Step {
    command: String,
    shown: String,
}

/// The commands of the page's console blocks.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut is_console, mut until) = (false, None::<String>);
    for line in page.lines() {
        if line.starts_with("```") {
            is_console = line == "```console";
            continue;
        }
        if !is_console {
            continue;
        }
        if let Some(end) = &until {
            let step = steps.last_mut().unwrap();
            step.command.push('\n');
            step.command.push_str(line);
            if line == end {
                until = None;
            }
        } else if let Some(command) = line.strip_prefix("$ ") {
            until = command.split_once("<<").map(|(_, end)| end.trim().to_owned());
            steps.push(Step { command: command.to_owned(), shown: String::new() });
        } else {
            let step = steps.last_mut().unwrap();
            step.shown.push_str(line);
            step.shown.push('\n');
        }
    }
    steps
}

/// A text without what differs from run to run: one word for each digest, name of a pod, time and address.
fn normal(text: &str) -> String {
    text.lines().map(normal_line).collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn normal_line(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(normal_word).collect();
    // `24 s ago` and `just now` are the same news; durations differ with the machine.
    let mut index = 0;
    while index < words.len() {
        let at = |offset: usize| words.get(index + offset).map(String::as_str);
        let is_number = at(0).is_some_and(|it| it.parse::<u32>().is_ok());
        let is_unit = matches!(at(1), Some("s" | "min" | "h"));
        match (at(0), at(1), at(2)) {
            (_, Some(_), Some("ago")) if is_number && is_unit => {
                words.splice(index..index + 3, ["<ago>".to_owned()]);
            }
            (Some("just"), Some("now"), _) => {
                words.splice(index..index + 2, ["<ago>".to_owned()]);
            }
            _ if is_number && is_unit => {
                words.splice(index..index + 2, ["<time>".to_owned()]);
            }
            _ => {}
        }
        index += 1;
    }
    words.join(" ")
}

fn normal_word(word: &str) -> String {
    let bare = word.trim_end_matches([':', ';', ',', ')']);
    let end = &word[bare.len()..];
    let digits = bare.strip_prefix("sha256:").unwrap_or(bare);
    let is_hex = digits.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
    if is_hex && matches!(digits.len(), 10 | 12 | 64) {
        return format!("<digest>{end}");
    }
    if bare.contains("http://127.0.0.1:") {
        return format!("<address>{end}");
    }
    // `95b0978fa0e0-li-na-yes-1795692627903` and `hello/web-mmtzsw4d9l-jq5j6`.
    if bare.contains("-yes-") {
        return format!("<approval>{end}");
    }
    if bare.starts_with("hello/web-") {
        return format!("<pod>{end}");
    }
    let is_date = bare.len() == 10 && bare.starts_with("20") && bare.matches('-').count() == 2;
    if is_date || (bare.len() == 8 && bare.matches(':').count() == 2) {
        return format!("<time>{end}");
    }
    word.to_owned()
}

/// Whether what was printed is what the page shows; a line `…` on the page stands for any lines.
fn is_as_shown(printed: &str, shown: &str) -> bool {
    let (printed, shown) = (normal(printed), normal(shown));
    let mut rest = printed.as_str();
    let mut parts = shown.split("\n…\n");
    let first = parts.next().unwrap_or_default();
    let parts: Vec<&str> = parts.collect();
    if parts.is_empty() {
        return rest == first;
    }
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

/// A shell that goes on where the last command left it: folder and variables.
struct Shell {
    start: PathBuf,
    folder: PathBuf,
    exported: Vec<String>,
}

impl Shell {
    fn command(&self, text: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("bash");
        command.current_dir(&self.folder).env("PATH", format!("{}:{path}", binary.display()));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEGATE_")) {
            command.env_remove(name);
        }
        let who = [("NAME", "Li Na"), ("EMAIL", "li.na@bank.example")];
        for (what, value) in who {
            command.env(format!("GIT_AUTHOR_{what}"), value);
            command.env(format!("GIT_COMMITTER_{what}"), value);
        }
        command.env("LC_ALL", "C.UTF-8").env("COLUMNS", "100").env("HOME", &self.start);
        command.env("TIDEGATE_HOOK_SECRET", canary::secret("hook"));
        command.args(["-c", &format!("{}\n{text}", self.exported.join("\n"))]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a step until it prints what the page shows.
    fn play(&mut self, step: &Step) {
        if let Some(folder) = step.command.strip_prefix("cd ") {
            self.folder = self.folder.join(folder);
            return;
        }
        if step.command.starts_with("export ") {
            let value = step.command.replace("$PWD", self.folder.to_str().unwrap());
            self.exported.push(value);
            return;
        }
        let start = Instant::now();
        let speaks = SPEAKING.contains(&step.command.as_str());
        loop {
            let done = canary::searched(self.command(&step.command).output().unwrap());
            let printed = String::from_utf8(done.stdout).unwrap();
            let is_right = (done.status.success() || speaks)
                && (step.shown.is_empty() || is_as_shown(&printed, &step.shown));
            if is_right {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "$ {}\nshould print\n{}\nand prints (code {:?})\n{printed}{}",
                step.command,
                step.shown,
                done.status.code(),
                String::from_utf8_lossy(&done.stderr),
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

/// The agent in the first terminal, ended with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn is_there(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok()
}

#[test]
fn the_tutorial_can_be_played_as_it_is_written() {
    let needed = [("bash", "--version"), ("git", "--version"), ("ssh-keygen", "-?")];
    if !needed.into_iter().all(|(program, argument)| is_there(program, argument)) {
        // What a newcomer is told to have.
        eprintln!("left out: the tutorial needs bash, git and ssh-keygen");
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md");
    let steps = steps(&std::fs::read_to_string(page).unwrap());
    assert!(steps.len() > 25, "only {} commands", steps.len());
    let folder = tempfile::tempdir().unwrap();
    let start = folder.path().to_owned();
    let mut shell = Shell { folder: start.clone(), start: start.clone(), exported: Vec::new() };
    let mut agents = Vec::new();
    for step in &steps {
        if step.command.starts_with("tidegate agent") {
            // Another port than the usual one: the machine may have an agent of its own.
            let command = format!("exec {} --listen 127.0.0.1:0", step.command);
            let log = std::fs::File::create(start.join("agent.log")).unwrap();
            let mut command = shell.command(&command);
            agents.push(Agent(command.stdout(Stdio::null()).stderr(log).spawn().unwrap()));
            // A second terminal begins where the first began.
            shell.folder.clone_from(&start);
        } else {
            shell.play(step);
        }
    }
    assert_eq!(agents.len(), 1);
    drop(agents);
    canary::assert_none_kept(&[&start]);
}

#[test]
fn only_what_differs_from_run_to_run_is_taken_out() {
    assert!(is_as_shown(
        "r2  e2d7ef8287c8  61 s ago   22 s  done",
        "r2 def9e24321fc just now 7 s done"
    ));
    assert!(!is_as_shown(
        "r2  e2d7ef8287c8  61 s ago   22 s  failed",
        "r2 def9e24321fc just now 7 s done"
    ));
    assert!(is_as_shown("a\nb\nc\nd", "a\n…\nd"));
    assert!(!is_as_shown("a\nb\nc\nd", "a\n…\nc"));
    assert!(!is_as_shown("4 to change", "5 to change"));
    let page =
        "```console\n$ cat > a <<END\n$ no command\nEND\n$ b\nshown\n```\n```yaml\n$ c\n```\n";
    let steps = steps(page);
    assert_eq!(steps.len(), 2);
    assert_eq!(steps.first().unwrap().command, "cat > a <<END\n$ no command\nEND");
    assert_eq!(steps.last().unwrap().shown, "shown\n");
}
