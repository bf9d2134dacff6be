//! The demo's voice: what it says, and where it waits for Enter.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Instant;

use owo_colors::OwoColorize;

/// Speaks on the standard output, or on standard error where programs read the other.
pub(super) struct Voice {
    is_aside: bool,
    started: Instant,
    waits: bool,
    act: u32,
}

impl Voice {
    pub(super) fn new(is_unattended: bool, is_aside: bool) -> Self {
        let is_heard = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Self { is_aside, started: Instant::now(), waits: !is_unattended && is_heard, act: 0 }
    }

    fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&self, text: &str) {
        // A reader that has gone (`| head`) is no fault of the demo's.
        let _written = if self.is_aside {
            let mut out = anstream::stderr().lock();
            out.write_all(text.as_bytes())
        } else {
            let mut out = anstream::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }

    /// An empty line.
    pub(super) fn pause(&self) {
        self.line("");
    }

    /// The title of the whole.
    pub(super) fn title(&self, title: &str, about: &[&str]) {
        self.pause();
        self.line(&format!("  {}", title.bold()));
        for line in about {
            self.line(&format!("  {}", line.dimmed()));
        }
    }

    /// A new act begins.
    pub(super) fn act(&mut self, title: &str) {
        self.act += 1;
        let at = format!("{:>5.1} s", self.started.elapsed().as_secs_f32());
        let head = format!("{} ▸ {title}", self.act);
        let dots = "·".repeat(66_usize.saturating_sub(head.chars().count()));
        self.pause();
        self.line(&format!("{} {} {}", head.bold().cyan(), dots.dimmed(), at.dimmed()));
    }

    /// Somebody does something.
    pub(super) fn does(&self, who: &str, what: &str) {
        self.line(&format!("  {} {what}", format!("{who}:").bold()));
    }

    /// The agent has done or seen something.
    pub(super) fn done(&self, what: &str) {
        self.line(&format!("  {} {what}", "✓".green()));
    }

    /// The agent holds something back.
    pub(super) fn holds(&self, what: &str) {
        self.line(&format!("  {} {what}", "◷".yellow()));
    }

    /// Something went wrong, as it should here.
    pub(super) fn fails(&self, what: &str) {
        self.line(&format!("  {} {what}", "✗".red()));
    }

    /// Quoted output, as another command would print it.
    pub(super) fn quote(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  {} {line}", "│".dimmed()));
        }
    }

    /// What to try in another terminal; then waits for Enter.
    pub(super) fn try_out(&mut self, commands: &[String]) {
        if !self.waits {
            return;
        }
        self.line(&format!("  {}", "try, in another terminal:".dimmed()));
        for command in commands {
            self.line(&format!("    {}", command.cyan()));
        }
        self.write(&format!("  {}", "Enter goes on, q ends ".dimmed()));
        let mut answer = String::new();
        let is_read = std::io::stdin().lock().read_line(&mut answer).is_ok_and(|read| read > 0);
        if !is_read || answer.trim().eq_ignore_ascii_case("q") {
            self.waits = false;
        }
    }

    /// How long it took.
    pub(super) fn seconds(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }
}
