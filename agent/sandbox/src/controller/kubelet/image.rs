//! What an image's name makes a container do.

use crate::conduct::Conduct;

/// How a container behaves once it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Runs and becomes ready.
    Runs,
    /// Runs and never becomes ready.
    NeverReady,
    /// Ends with an error soon after every start.
    Crashes,
    /// Becomes ready, and ends with an error after some seconds.
    CrashesWhenReady,
    /// Its image cannot be pulled.
    CannotPull,
    /// Ends with an error instead of success; without a job it is as `Crashes`.
    Fails,
}

/// An image's words, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behaviour {
    pub(super) fate: Fate,
    /// `slow-10s`: seconds until ready, or until a job's pod ends.
    pub(super) slow: Option<i64>,
}

impl Behaviour {
    /// The same, but for what the pod's conduct says.
    pub(super) fn under(self, conduct: &Conduct) -> Self {
        Self {
            fate: if conduct.is_never_ready { Fate::NeverReady } else { self.fate },
            slow: conduct.takes.or(self.slow),
        }
    }
}

/// `check-fail`: becomes ready, and answers every question with an error.
const CHECK_FAIL: [&str; 2] = ["check", "fail"];

/// Whether a container of this image answers with errors although it is ready.
pub(crate) fn fails_checks(image: &str) -> bool {
    words(image).windows(CHECK_FAIL.len()).any(|found| found == CHECK_FAIL)
}

/// What a Prometheus measures, whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured<'a> {
    /// `prom-none`.
    Nothing,
    /// `prom-0.02`.
    Value(&'a str),
}

/// What a Prometheus of this image measures; `None` for an image that does not say.
pub(crate) fn measures(image: &str) -> Option<Measured<'_>> {
    let last = last(image);
    let begins = |at: usize| !last.get(..at).unwrap_or_default().ends_with(char::is_alphanumeric);
    last.match_indices("prom-").filter(|(at, _)| begins(*at)).find_map(|(at, word)| {
        let rest = last.get(at + word.len()..)?;
        let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '.');
        let value = rest.get(..end.unwrap_or(rest.len()))?;
        if value == "none" {
            return Some(Measured::Nothing);
        }
        value.parse::<f64>().is_ok().then_some(Measured::Value(value))
    })
}

/// An image's last path part and tag.
fn last(image: &str) -> &str {
    let plain = image.split('@').next().unwrap_or_default();
    plain.rsplit('/').next().unwrap_or_default()
}

/// The words of an image's last path part and tag; its registry and folders do not count.
fn words(image: &str) -> Vec<&str> {
    last(image).split(|c: char| !c.is_ascii_alphanumeric()).collect()
}

/// Reads the words of an image.
pub(super) fn behaviour(image: &str) -> Behaviour {
    let words = words(image);
    let says = |wanted: &[&str]| words.windows(wanted.len()).any(|found| found == wanted);
    let fate = if says(&["pull", "fail"]) {
        Fate::CannotPull
    } else if says(&["ready", "then", "crash"]) {
        Fate::CrashesWhenReady
    } else if says(&["never", "ready"]) {
        Fate::NeverReady
    } else if says(&["crash"]) {
        Fate::Crashes
    } else if says(&["fail"]) && !says(&CHECK_FAIL) {
        Fate::Fails
    } else {
        Fate::Runs
    };
    let seconds = words.windows(2).find_map(|pair| match pair {
        ["slow", time] => time.strip_suffix('s')?.parse().ok(),
        _ => None,
    });
    Behaviour { fate, slow: seconds }
}
