//! The flags of `tidegate agent`, made from the table of settings.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::setting::{SETTINGS, Setting, Takes};

/// The flags as they were typed: use it with `#[command(flatten)]`. It is not derived, so that a
/// setting is written once, in the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentArgs {
    config: Option<PathBuf>,
    values: BTreeMap<&'static str, Vec<String>>,
}

impl AgentArgs {
    /// The file of settings.
    pub fn config(&self) -> Option<PathBuf> {
        self.config.clone()
    }

    /// What was typed for a setting, by its key in the file.
    pub(super) fn values(&self, key: &str) -> Option<&[String]> {
        self.values.get(key).map(Vec::as_slice)
    }

    /// Sets a flag, for commands that start an agent themselves; unknown keys are ignored.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        if let Some(setting) = super::setting::find(key).filter(|it| !it.is_secret()) {
            self.values.entry(setting.key).or_default().push(value.into());
        }
        self
    }

    /// The settings that have a flag.
    fn flags() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| !setting.is_secret())
    }
}

impl FromArgMatches for AgentArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(path) = matches.get_one::<PathBuf>("config") {
            self.config = Some(path.clone());
        }
        for setting in Self::flags() {
            if let Some(values) = matches.get_many::<String>(setting.key) {
                self.values.insert(setting.key, values.cloned().collect());
            }
        }
        Ok(())
    }
}

impl Args for AgentArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A YAML file of settings [env: TIDEGATE_CONFIG]");
        Self::flags().fold(command.arg(config), |command, setting| {
            let default = setting.default.filter(|default| !default.is_empty());
            let default = default.map(|it| format!(" [default: {it}]")).unwrap_or_default();
            let help = format!("{} [env: {}]{default}", setting.meaning, setting.variable());
            let action = if setting.takes.is_list() { ArgAction::Append } else { ArgAction::Set };
            command.arg(
                Arg::new(setting.key)
                    .long(setting.flag())
                    .value_name(match setting.takes {
                        Takes::Path => "PATH",
                        Takes::Duration => "DURATION",
                        Takes::Address | Takes::Addresses => "ADDRESS",
                        Takes::Paths => "CLUSTER=PATH",
                        Takes::Hosts => "HOST",
                        Takes::Text | Takes::Word(_) | Takes::Secret => "TEXT",
                    })
                    .action(action)
                    .help(help),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
