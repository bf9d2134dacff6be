//! Claims of a `StatefulSet`: the server makes one for each pod and template, named by both, and leaves them behind
//! (Kubernetes, "`StatefulSets`", "Persistent Volume Claims").

use crate::claim;
use crate::object::{Object, ObjectRef};

/// Whether it is a set whose pods have claims of their own.
pub fn is_set(reference: &ObjectRef) -> bool {
    (reference.group.as_str(), reference.kind.as_str()) == ("apps", "StatefulSet")
}

/// Names of the templates of a set's claims; none when its claims are deleted with it.
pub fn templates(set: &Object) -> Vec<&str> {
    if super::effects::takes_claims_along(set) {
        return Vec::new();
    }
    claim::claims(set).map(claim::name).collect()
}

/// The number of the pod for which the set has a claim of this name.
pub fn ordinal(set: &Object, claim: &str) -> Option<u32> {
    templates(set).into_iter().find_map(|template| {
        let rest = claim.strip_prefix(template)?.strip_prefix('-')?;
        let number = rest.strip_prefix(set.name())?.strip_prefix('-')?;
        let is_canonical = number == "0" || !number.starts_with(['0', '+']);
        number.parse().ok().filter(|_| is_canonical)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("data-web-0", Some(0))]
    #[case("log-web-12", Some(12))]
    #[case::of_another_set("data-web-db-0", None)]
    #[case::of_nobody("data-web", None)]
    #[case::not_as_it_is_written("data-web-01", None)]
    #[case::no_template("cache-web-0", None)]
    fn a_claim_is_known_by_template_set_and_ordinal(
        #[case] claim: &str,
        #[case] wanted: Option<u32>,
    ) {
        let set = Object::new(json!({"kind": "StatefulSet", "metadata": {"name": "web"},
            "spec": {"volumeClaimTemplates": [
                {"metadata": {"name": "data"}}, {"metadata": {"name": "log"}}]}}));
        assert_eq!(ordinal(&set, claim), wanted);
    }

    #[test]
    fn a_set_that_takes_its_claims_along_leaves_none() {
        let set = Object::new(json!({"kind": "StatefulSet", "metadata": {"name": "web"},
            "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}],
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}));
        assert_eq!(ordinal(&set, "data-web-0"), None);
    }
}
