//! The reference page of commands, made from what clap knows.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::Cli;

/// `docs/reference/commands.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Commands\n\n<!-- Made from agent/src/cli: edit that, then run the tests with UPDATE_REFERENCE=1. -->\n",
    );
    let command = Cli::command().max_term_width(100).term_width(100);
    section(&mut page, command.clone(), "tidegate", 2);
    for child in command.get_subcommands() {
        let name = format!("tidegate {}", child.get_name());
        section(&mut page, child.clone(), &name, 2);
        for grandchild in child.get_subcommands() {
            section(&mut page, grandchild.clone(), &format!("{name} {}", grandchild.get_name()), 3);
        }
    }
    page
}

fn section(page: &mut String, command: Command, name: &str, level: usize) {
    let mut command = command.term_width(100).bin_name(name).disable_help_subcommand(true);
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let marks = "#".repeat(level);
    let _ok = write!(page, "\n{marks} `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_book_is_current() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/commands.md");
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "run the tests with UPDATE_REFERENCE=1 and commit the page"
        );
    }
}
