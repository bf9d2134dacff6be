//! A baseline outside of its agent: what another one needs to go on from it, with a digest over all of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;

use super::Baseline;
use crate::digest::Digest;
use crate::live::Inventory;

/// A baseline with what an agent with an empty data folder must know to go on from it, where the clusters run what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// The baseline, as it is handed back to git.
    #[serde(flatten)]
    pub baseline: Baseline,
    /// What an agent must know beside it.
    pub carried: Carried,
    /// The digest of everything else: an altered file is refused.
    pub export_digest: Digest,
}

/// What an agent must know beside the baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// The objects that are the site's: only these are ever changed or deleted.
    pub inventory: Inventory,
    /// Names of approvals that releases have used up: none opens anything again.
    pub consumed: BTreeSet<String>,
}

/// How a baseline came to an agent that did not deliver it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The digest of the export.
    pub export: Digest,
}

impl Export {
    /// Puts a baseline together with what is carried with it.
    pub fn new(baseline: Baseline, carried: Carried) -> Self {
        let export_digest = digest(&baseline, &carried);
        Self { baseline, carried, export_digest }
    }

    /// Whether an agent of a site may take it up; all that speaks against it. What it has reached by itself is only given up
    /// when somebody says so.
    ///
    /// # Errors
    ///
    /// The findings.
    pub fn check(
        &self,
        site: &str,
        has_own: Option<&Baseline>,
        replaces: bool,
    ) -> Result<(), Vec<Finding>> {
        let mut findings = Vec::new();
        let made = digest(&self.baseline, &self.carried);
        if made != self.export_digest {
            findings.push(
                Finding::error("BASELINE/ALTERED")
                    .with("said", self.export_digest.short())
                    .with("found", made.short()),
            );
        }
        if self.baseline.site != site {
            let finding = Finding::error("BASELINE/OTHER_SITE").with("site", &self.baseline.site);
            findings.push(finding.with("own", site));
        }
        if let Some(own) = has_own.filter(|_| !replaces) {
            let finding = Finding::error("BASELINE/ONE_IS_THERE");
            findings.push(
                finding.with("release", &own.release).with("at", own.recorded_at.to_string()),
            );
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    /// The baseline as the agent keeps it that takes it up.
    pub fn taken_up(&self, by: &str, reason: &str, at: Timestamp) -> Baseline {
        let imported = Imported {
            by: by.to_owned(),
            reason: reason.to_owned(),
            at,
            export: self.export_digest.clone(),
        };
        Baseline { imported: Some(imported), ..self.baseline.clone() }
    }
}

fn digest(baseline: &Baseline, carried: &Carried) -> Digest {
    Digest::of(&(baseline, carried))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn export() -> Export {
        let baseline = Baseline {
            site: "hz".to_owned(),
            revision: "c1".to_owned(),
            release: "r7".to_owned(),
            recorded_at: Timestamp::UNIX_EPOCH,
            products: BTreeMap::new(),
            grants: BTreeMap::new(),
            zones: BTreeMap::new(),
            versions: BTreeMap::new(),
            images: BTreeMap::new(),
            manifests: BTreeMap::new(),
            operations: BTreeMap::new(),
            uninstalled: BTreeMap::new(),
            imported: None,
        };
        let carried = Carried { consumed: ["a-1".to_owned()].into(), ..Carried::default() };
        Export::new(baseline, carried)
    }

    fn refused(export: &Export, site: &str, own: Option<&Baseline>, replaces: bool) -> Vec<String> {
        let found = export.check(site, own, replaces).err().unwrap_or_default();
        found.iter().map(|it| it.code.to_string()).collect()
    }

    #[test]
    fn what_was_altered_or_is_another_sites_or_would_replace_is_refused_and_all_is_said() {
        let whole = export();
        assert!(refused(&whole, "hz", None, false).is_empty());
        let mut altered = whole.clone();
        altered.carried.consumed.clear();
        assert_eq!(refused(&altered, "hz", None, false), ["BASELINE/ALTERED"]);
        let own = whole.baseline.clone();
        assert_eq!(refused(&whole, "hz", Some(&own), false), ["BASELINE/ONE_IS_THERE"]);
        assert!(refused(&whole, "hz", Some(&own), true).is_empty());
        let all = ["BASELINE/ALTERED", "BASELINE/OTHER_SITE", "BASELINE/ONE_IS_THERE"];
        assert_eq!(refused(&altered, "sh", Some(&own), false), all);
    }

    #[test]
    fn an_export_is_read_as_a_baseline_too_and_comes_back_the_same() {
        let whole = export();
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), whole.baseline);
        let again: Export = serde_json::from_str(&text).unwrap();
        assert_eq!(again, whole);
        assert!(refused(&again, "hz", None, false).is_empty());
    }

    #[test]
    fn who_took_it_up_is_kept_and_changes_no_level() {
        let whole = export();
        let own = whole.taken_up("li-na", "CHG-9", Timestamp::UNIX_EPOCH);
        assert_eq!(own.digest(), whole.baseline.digest());
        assert_eq!(own.imported.as_ref().map(|it| it.by.as_str()), Some("li-na"));
        // Handed on once more it says so, and is whole.
        assert!(refused(&Export::new(own, whole.carried), "hz", None, false).is_empty());
    }
}
