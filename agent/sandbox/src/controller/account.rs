//! Service accounts: every namespace has one called `default`.

use serde_json::json;

use super::object::name;
use super::pass::Pass;

/// Makes the default service accounts that are missing.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(space) = pass.next("", "Namespace") {
        if pass.get("", "ServiceAccount", name(&space), "default").is_none() {
            pass.create(json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name(&space)},
            }));
        }
    }
}
