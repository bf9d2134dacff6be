//! What can be typed: the definition, the help, and every command line that a page or an example shows.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_teaches_by_examples() {
    fn check(command: &clap::Command, path: &str) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example"), "{path} has no examples");
        // Wrapped, an example cannot be copied.
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            let columns = printer::columns(line);
            assert!(columns <= 80, "{path}: {columns} columns: {line}");
        }
        for child in command.get_subcommands() {
            check_child(child, path);
        }
    }
    // The commands of a group have their examples in the group's help.
    fn check_child(child: &clap::Command, path: &str) {
        let name = format!("{path} {}", child.get_name());
        assert!(child.get_about().is_some(), "{name} says nothing of itself");
    }
    check(&Cli::command(), "tidegate");
    for command in Cli::command().get_subcommands() {
        check(command, command.get_name());
    }
}

/// The words of a command line as a shell makes them, up to where another command begins.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '&' | ';' | '>' | '#' | ')') if word.is_none() => return words,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The command lines of this program in a text: after `$`, after `&&`, and in pipes.
fn typed(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut lines = Vec::new();
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("$ ")) {
        for part in line.split("&&").flat_map(|part| part.split(" | ")) {
            // Variables before the command, and words that run it.
            let is_before = |word: &&str| word.contains('=') || *word == "exec";
            let rest: Vec<&str> = part.split_whitespace().skip_while(is_before).collect();
            if rest.first() == Some(&"tidegate") {
                let at = part.find("tidegate").unwrap_or_default();
                lines.push(part[at..].to_owned());
            }
        }
    }
    lines
}

/// Why a command line cannot be typed.
fn fault(line: &str) -> Option<String> {
    // A digest that is cut short, a file that the reader has: their place is what counts.
    let words = words(&line.replace('…', "sha256:aa"));
    match Cli::try_parse_from(&words) {
        Ok(_) => None,
        Err(error) if !error.use_stderr() => None,
        Err(error) => Some(format!("{line}: {}", error.kind())),
    }
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_command_line_of_the_pages_can_be_typed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md")];
    for folder in ["docs", "examples", "site-template"] {
        pages(&root.join(folder), &mut files);
    }
    let lines: Vec<String> =
        files.iter().flat_map(|path| typed(&std::fs::read_to_string(path).unwrap())).collect();
    assert!(lines.len() > 40, "only {} command lines were found", lines.len());
    let wrong: Vec<String> = lines.iter().filter_map(|line| fault(line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(fault("tidegate validate --nonsense").is_some());
}

#[test]
fn every_example_of_the_help_can_be_typed() {
    fn visit(command: &clap::Command, wrong: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            // What follows after two spaces says what it is for.
            let line = line.trim().split("  ").next().unwrap_or_default();
            wrong.extend(typed(&format!("$ {line}")).iter().filter_map(|line| fault(line)));
        }
        for child in command.get_subcommands() {
            visit(child, wrong);
        }
    }
    let mut wrong = Vec::new();
    visit(&Cli::command(), &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
