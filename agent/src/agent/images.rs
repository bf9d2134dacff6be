//! What the agent knows of images, and when it asks their registries again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::backoff::Backoff;
use tidegate_core::baseline::Baseline;
use tidegate_core::pin::{self, Answer, Answers, Lookup};
use tidegate_core::render::render;
use tidegate_core::site::{Pins, ValidSite};
use tidegate_schema::finding::Finding;
use tokio::time::Instant;

use super::{Agent, Loaded, Meaning, Result};
use crate::journal::fact;
use crate::registry::Registries;

/// What somebody may be mending just now is asked for again so soon.
const SOON: Duration = Duration::from_mins(1);

/// How images are looked up, and what came of it.
#[derive(Debug)]
pub struct Images {
    lookup: Lookup,
    interval: Duration,
    registries: Option<Registries>,
    known: Answers,
    asked: BTreeMap<String, Asked>,
    /// Whether this process has tried to learn how images of manifests were delivered before that was kept.
    has_looked_back: bool,
}

/// When a reference was asked for last in this process, and how often in a row without an answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    failures: u32,
}

impl Images {
    /// No registry is asked.
    pub fn off() -> Self {
        Self {
            lookup: Lookup::Off,
            interval: SOON,
            registries: None,
            known: Answers::new(),
            asked: BTreeMap::new(),
            has_looked_back: false,
        }
    }

    /// What earlier runs have found out counts, and no registry is asked.
    pub fn remembered(lookup: Lookup) -> Self {
        Self { lookup, ..Self::off() }
    }

    /// What is known of images.
    pub fn answers(&self) -> &Answers {
        &self.known
    }

    /// Registries are asked for what is new, and for everything after each interval.
    pub fn looked_up(registries: Registries, lookup: Lookup, interval: Duration) -> Self {
        Self { lookup, interval, registries: Some(registries), ..Self::off() }
    }

    /// What earlier runs have found out.
    pub(super) fn remember(&mut self, known: Answers) {
        if self.lookup != Lookup::Off {
            self.known = known;
        }
    }

    /// Looks up what a site needs, whatever was asked before. For previews; the agent asks by [`Agent::look_up_images`].
    pub async fn pins(&mut self, site: &ValidSite, baseline: Option<&Baseline>) -> Pins {
        self.look_up(site, baseline).await;
        pin::pins(site, baseline, &self.known, self.lookup)
    }

    /// Asks for what is due. Whether something else is known than before.
    async fn look_up(&mut self, site: &ValidSite, baseline: Option<&Baseline>) -> bool {
        let Some(registries) = self.registries.clone() else { return false };
        let before = self.known.clone();
        let mut wanted = pin::lookups(site, baseline, &self.known);
        for _ in 0..2 {
            let due: BTreeSet<String> =
                wanted.iter().filter(|reference| self.is_due(reference)).cloned().collect();
            if due.is_empty() {
                break;
            }
            for (reference, said) in registries.ask(&due).await {
                self.note(reference, said.map_err(|trouble| trouble.to_string()));
            }
            // An answer may say that what runs is to be looked for too.
            wanted = pin::lookups(site, baseline, &self.known);
        }
        self.known.retain(|reference, _| wanted.contains(reference));
        self.asked.retain(|reference, _| wanted.contains(reference));
        self.known != before
    }

    fn note(&mut self, reference: String, said: std::result::Result<Answer, String>) {
        let failures = self.asked.get(&reference).map_or(0, |asked| asked.failures);
        let known = self.known.entry(reference.clone()).or_default();
        let failures = match said {
            Ok(answer) => {
                known.answer = Some(answer);
                known.trouble = None;
                0
            }
            Err(trouble) => {
                tracing::debug!(image = reference, trouble, "an image could not be looked up");
                known.trouble = Some(trouble);
                failures.saturating_add(1)
            }
        };
        self.asked.insert(reference, Asked { at: Instant::now(), failures });
    }

    fn is_due(&self, reference: &str) -> bool {
        let Some(asked) = self.asked.get(reference) else { return true };
        let known = self.known.get(reference);
        let is_missing = known.is_some_and(|known| known.answer == Some(Answer::Missing));
        let soon = SOON.min(self.interval);
        let wait = match asked.failures {
            0 if is_missing => soon,
            0 => self.interval,
            // A registry that is away takes its time each time, while everything else waits.
            failures => {
                let backoff = Backoff { interval: soon, longest: self.interval, jitter: 0 };
                backoff.wait(failures - 1, 0)
            }
        };
        asked.at.elapsed() >= wait
    }
}

impl Agent {
    /// Looks up images that are new or were asked for long ago, and gives what the revision means with what is known now.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn look_up_images(&mut self, loaded: &Loaded) -> Result<Arc<Meaning>> {
        self.learn_manifest_images().await?;
        let meaning = self.meaning(loaded);
        let Some(site) = &meaning.site else { return Ok(meaning) };
        if self.images.look_up(site, self.baseline.as_ref()).await {
            self.journal.set_fact(fact::IMAGES, &self.images.known).await?;
        }
        let meaning = self.meaning(loaded);
        let findings = meaning.site.iter().flat_map(|site| &site.pins.findings);
        // Refusals are the plan's.
        let remarks: Vec<Finding> = findings.filter(|it| !it.is_error()).cloned().collect();
        self.note_findings(&remarks);
        Ok(meaning)
    }

    /// What agents of before have delivered they did not pin in plain manifests, nor did they keep it: the documents of the
    /// baseline's revision say it. Once is enough, as releases keep it from then on.
    async fn learn_manifest_images(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.images.has_looked_back, true) {
            return Ok(());
        }
        let lacking = self.baseline.as_ref().filter(|it| it.is_without_manifest_images());
        let Some(mut baseline) = lacking.cloned() else { return Ok(()) };
        let now = self.clock.now();
        let Some(delivered) = self.content_of(Some(&baseline.revision), now).await? else {
            return Ok(());
        };
        if baseline.learn_manifest_images(&delivered, &self.inventory) {
            tracing::info!("learned how images of plain manifests were delivered");
            self.journal.set_fact(fact::BASELINE, &baseline).await?;
            self.baseline = Some(baseline);
        }
        Ok(())
    }

    /// What the images of a site are pinned to by what is known.
    pub(super) fn pins(&self, site: &ValidSite) -> Pins {
        pin::pins(site, self.baseline.as_ref(), &self.images.known, self.images.lookup)
    }

    /// The same meaning with what is known of images now.
    pub(super) fn with_pins(&mut self, known: Arc<Meaning>) -> Arc<Meaning> {
        let Some(site) = &known.site else { return known };
        let pins = self.pins(site);
        if pins == site.pins {
            return known;
        }
        let site = site.clone().with_pins(pins);
        let made = Meaning {
            commit: known.commit.clone(),
            until: known.until,
            desired: render(&site, known.at),
            at: known.at,
            site: Some(site),
            findings: known.findings.clone(),
        };
        Arc::clone(self.meaning.insert(Arc::new(made)))
    }
}
