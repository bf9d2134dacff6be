//! On which terms an object is written: what the server is to check with the write itself, and what may be taken from others.
//!
//! A look is compared with what was approved, and the write says which look that was. What changes in between is then a
//! conflict, and another look, and never overwritten. That an object does not exist cannot be asked with the write: there it
//! is sent without force, so that nothing that somebody made meanwhile is lost.

use super::{Work, change_of};
use crate::change::{Action, Change};
use crate::diff;
use crate::driver;
use crate::live::Conflict;
use crate::object::{Object, ObjectRef};
use crate::plan::{Driver, Step};

/// The terms of one apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The object as it was seen; `None` when it did not exist, or when nothing is asked.
    pub seen: Option<Version>,
    /// What may be taken from other managers.
    pub takes: Takes,
    /// What a further look is compared with.
    pub basis: Basis,
}

/// What decides whether a form may be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Basis {
    /// What was approved; `None` for what the plan says nothing of.
    pub change: Option<Change>,
    /// Whether the driver of the pods decides some of its fields.
    pub has_groups: bool,
    /// Whether it is the final form.
    pub is_final: bool,
}

/// One version of one object, as the server counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub resource_version: String,
}

/// Which fields an apply may take from other managers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// These, from these managers; and, with what they hold, those that the driver of the pods decides.
    Approved {
        /// As the plan shows them.
        conflicts: Vec<Conflict>,
        /// Beginnings of paths, `.spec.strategy`.
        decided: &'static [&'static str],
    },
    /// Whatever there is: on the way back.
    Everything,
}

/// What is to be deleted was approved with everything in it: the beginning of all paths.
const WHOLE: &[&str] = &[""];

impl Terms {
    /// Nothing is asked: on the way back.
    pub fn none() -> Self {
        Self { seen: None, takes: Takes::Everything, basis: Basis::default() }
    }

    /// The terms for the same form after another look; `None` when the object is not as it was approved any more.
    pub fn again(&self, form: &Object, live: Option<&Object>) -> Option<Self> {
        match self.takes {
            Takes::Everything => Some(Self::none()),
            Takes::Approved { .. } => self.basis.clone().terms(form, live),
        }
    }

    /// Conflicts that nobody approved.
    pub fn not_approved<'a>(&self, found: &'a [Conflict]) -> Vec<&'a Conflict> {
        let Takes::Approved { conflicts, decided } = &self.takes else { return Vec::new() };
        let is_approved = |found: &Conflict| {
            let is_same =
                |it: &Conflict| (&it.field, &it.manager) == (&found.field, &found.manager);
            conflicts.iter().any(is_same)
        };
        let is_decided = |found: &Conflict| decided.iter().any(|it| is_inside(&found.field, it));
        found.iter().filter(|it| !is_approved(it) && !is_decided(it)).collect()
    }
}

fn is_inside(field: &str, prefix: &str) -> bool {
    field.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The terms on which a form (and whether it is the final one) may be written over the object as it is; `None` when that is
/// not as it was approved.
pub(super) fn terms(
    work: Work<'_>,
    step: &Step,
    reference: &ObjectRef,
    (form, is_final): (&Object, bool),
    live: Option<&Object>,
) -> Option<Terms> {
    let rollout = step.rollout.as_ref().filter(|rollout| rollout.workload == *reference);
    let has_groups = rollout.is_some_and(|rollout| rollout.driver != Driver::Whole);
    let change = change_of(work.plan, reference).cloned();
    Basis { change, has_groups, is_final }.terms(form, live)
}

impl Basis {
    fn terms(self, form: &Object, live: Option<&Object>) -> Option<Terms> {
        let is_right = match (&self.change, live) {
            (None, _) => true,
            (Some(change), None) => matches!(change.action, Action::Create | Action::Replace),
            (Some(change), Some(live)) => match change.action {
                Action::Create => !is_taken(change, live),
                Action::Replace => live.is_applied_by_us(),
                Action::Configure | Action::Move => {
                    diff::is_as_approved(change, Some(live))
                        || self.is_under_way(form, live)
                        || diff::is_written(change, live, form)
                }
                // Offline first, as it is or as we left it.
                Action::Prune => {
                    diff::is_as_approved(change, Some(live)) || diff::is_written(change, live, form)
                }
                Action::Keep => false,
            },
        };
        if !is_right {
            return None;
        }
        let seen = live.map(|live| Version {
            uid: live.uid().to_owned(),
            resource_version: live.resource_version().to_owned(),
        });
        let is_going = self.change.as_ref().is_some_and(|it| it.action == Action::Prune);
        let decided = if is_going {
            WHOLE
        } else if self.has_groups {
            driver::decided(self.is_final)
        } else {
            &[]
        };
        let conflicts = self.change.as_ref().map(|it| it.conflicts.clone()).unwrap_or_default();
        Some(Terms { seen, takes: Takes::Approved { conflicts, decided }, basis: self })
    }

    /// Whether the pods of the workload are already being changed: then it has the new template, in a form that the driver
    /// decides, and puts back when somebody drops it.
    fn is_under_way(&self, form: &Object, live: &Object) -> bool {
        self.has_groups && driver::revision(live) == driver::revision(form)
    }
}

/// Whether somebody has made, since the plan was made, what was approved as a creation: it is not taken over by the way.
/// What was only simulated may exist by now: namespaces and kinds bring objects of their own with them.
pub(super) fn is_taken(change: &Change, live: &Object) -> bool {
    change.action == Action::Create && !diff::brings_others(change) && !live.is_applied_by_us()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::change::Confidence;
    use crate::desired::DesiredState;
    use crate::diff::tests::compared;
    use crate::digest::Digest;
    use crate::progress::tests::{empty_plan, plan};

    /// A config map of ours with a key that we own, and one of somebody else's.
    fn live(ours: &str, theirs: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7",
                "managedFields": [
                    {"manager": "tidegate", "operation": "Apply", "fieldsV1": {"f:data": {"f:ours": {}}}},
                    {"manager": "them", "operation": "Update", "fieldsV1": {"f:data": {"f:theirs": {}}}}]},
            "data": {"ours": ours, "theirs": theirs}})
    }

    fn form(ours: &str) -> Object {
        Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "web", "namespace": "shop"}, "data": {"ours": ours}}))
    }

    fn asked(change: Change, form: &Object, live: Option<&Value>) -> Option<Terms> {
        let mut plan = empty_plan();
        let (reference, state) = (change.object.clone(), DesiredState::default());
        plan.content.changes.changes.push(change);
        let work = Work { plan: &plan, desired: &state, before: &state };
        let step = &crate::progress::tests::plan("Deployment", Driver::Whole, &[1], false);
        let step = &step.content.waves[0].steps[0];
        let live = live.map(|live| Object::new(live.clone()));
        let first = terms(work, step, &reference, (form, true), live.as_ref())?;
        assert_eq!(first.again(form, live.as_ref()).as_ref(), Some(&first), "the same look again");
        Some(first)
    }

    /// From `1` to `2`, as it was approved.
    fn approved() -> Change {
        compared(&live("1", "a"), &live("2", "a")).changes.remove(0)
    }

    #[test]
    fn a_write_names_the_version_that_was_compared_with_the_approval() {
        let terms = asked(approved(), &form("2"), Some(&live("1", "a"))).unwrap();
        let seen = terms.seen.unwrap();
        assert_eq!((&*seen.uid, &*seen.resource_version), ("1", "7"));
    }

    #[rstest]
    #[case::as_it_was("1", "a", true)]
    #[case::somebody_elses_field("1", "b", true)]
    #[case::written_already_and_not_recorded("2", "a", true)]
    #[case::changed_by_somebody("3", "a", false)]
    fn what_was_changed_since_the_approval_is_not_written(
        #[case] ours: &str,
        #[case] theirs: &str,
        #[case] is_written: bool,
    ) {
        let terms = asked(approved(), &form("2"), Some(&live(ours, theirs)));
        assert_eq!(terms.is_some(), is_written);
    }

    #[test]
    fn what_a_webhook_made_of_our_write_is_known_by_the_prediction() {
        // The form says `2`, and a webhook makes `two` of it.
        let change = || compared(&live("1", "a"), &live("two", "a")).changes.remove(0);
        assert!(asked(change(), &form("2"), Some(&live("two", "a"))).is_some());
        let unknown = Change { predicted: None, ..change() };
        assert!(asked(unknown, &form("2"), Some(&live("two", "a"))).is_none());
    }

    #[test]
    fn what_is_gone_or_somebody_elses_is_not_made_anew() {
        assert_eq!(asked(approved(), &form("2"), None), None);
        let mut another = live("1", "a");
        another["metadata"]["uid"] = json!("2");
        assert_eq!(asked(approved(), &form("2"), Some(&another)), None);
    }

    #[test]
    fn a_creation_is_sent_without_force_and_takes_nothing_over() {
        let creation = Change { action: Action::Create, live: None, predicted: None, ..approved() };
        let terms = asked(creation.clone(), &form("2"), None).unwrap();
        assert_eq!(terms.seen, None);
        let conflict =
            Conflict { field: ".data.ours".to_owned(), manager: "them".to_owned(), since: None };
        assert_eq!(terms.not_approved(std::slice::from_ref(&conflict)), [&conflict]);
        let mut theirs = live("1", "a");
        theirs["metadata"]["managedFields"][0]["manager"] = json!("them");
        assert_eq!(asked(creation.clone(), &form("2"), Some(&theirs)), None);
        let simulated = Change { confidence: Confidence::Simulated, ..creation.clone() };
        assert!(asked(simulated, &form("2"), Some(&theirs)).is_some(), "namespaces bring objects");
        assert!(
            asked(creation, &form("2"), Some(&live("2", "a"))).is_some(),
            "our own, not recorded"
        );
    }

    #[test]
    fn only_what_was_approved_is_taken_from_others() {
        let by = |field: &str, manager: &str| Conflict {
            field: field.to_owned(),
            manager: manager.to_owned(),
            since: None,
        };
        let change = Change { conflicts: vec![by(".data.ours", "them")], ..approved() };
        let terms = asked(change, &form("2"), Some(&live("1", "a"))).unwrap();
        let since =
            Conflict { since: Some("2026-03-02T09:00:00Z".to_owned()), ..by(".data.ours", "them") };
        assert!(terms.not_approved(&[since]).is_empty(), "whenever that was");
        let others = [by(".data.ours", "hpa"), by(".data.other", "them")];
        assert_eq!(terms.not_approved(&others), others.iter().collect::<Vec<_>>());
        assert!(Terms::none().not_approved(&others).is_empty());
    }

    #[test]
    fn a_form_that_somebody_drops_is_put_back_and_its_last_one_takes_no_replicas() {
        let plan = plan("StatefulSet", Driver::StatefulSet, &[1, 1], false);
        let step = &plan.content.waves[0].steps[0];
        let (workload, state) = (&step.apply[0], DesiredState::default());
        let work = Work { plan: &plan, desired: &state, before: &state };
        let found = |is_final: bool, field: &str| {
            let terms = terms(work, step, workload, (&form("2"), is_final), None).unwrap();
            let found = Conflict { field: field.to_owned(), manager: "x".to_owned(), since: None };
            terms.not_approved(&[found]).is_empty()
        };
        let partition = ".spec.updateStrategy.rollingUpdate.partition";
        assert!(found(false, partition) && found(true, partition));
        assert!(found(false, ".spec.replicas") && !found(true, ".spec.replicas"));
        assert!(!found(false, ".spec.template.spec.containers[name=\"web\"].image"));
    }

    #[test]
    fn a_secret_that_was_written_already_is_known_by_its_content() {
        let secret = |value: &str, version: &str| {
            json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": version,
                "managedFields": [{"manager": "tidegate", "operation": "Apply",
                    "fieldsV1": {"f:data": {"f:a": {}}}}]},
            "data": {"a": value}})
        };
        let change = compared(&secret("MQ==", "7"), &secret("Mg==", "7")).changes.remove(0);
        assert_eq!(change.predicted, None::<Digest>);
        let form = Object::new(json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "web", "namespace": "shop"}, "data": {"a": "Mg=="}}));
        let asked = |live: &Value| asked(change.clone(), &form, Some(live)).is_some();
        assert!(asked(&secret("MQ==", "7")) && asked(&secret("Mg==", "8")));
        assert!(!asked(&secret("Mw==", "8")));
    }
}
