//! Objects that exist and are not ours: whose they are, and how their fields are handed over when they are adopted.

use serde_json::{Map, Value, json};

use super::ownership::unite;
use crate::live::{InventoryEntry, Stranger, Tool};
use crate::object::{FIELD_MANAGER, Object, SITE_LABEL, text_of};

/// Managers by which `kubectl apply` is known when it works at the client's side (csaupgrade of client-go).
const CLIENT_SIDE: [&str; 2] = ["kubectl-client-side-apply", "kubectl"];
/// Where client-side apply keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whose an object is that exists and that the inventory does not know as ours. `None` when it is ours: also when the
/// inventory was lost and the object itself says that this site applied it.
///
/// The service account `default` of a namespace is made by Kubernetes for whoever uses the namespace, so it is nobody's.
pub(super) fn stranger(
    desired: &Object,
    live: &Object,
    entry: Option<&InventoryEntry>,
) -> Option<Stranger> {
    let site = desired.label(SITE_LABEL);
    let is_ours = entry.is_some_and(|entry| entry.uid.is_some())
        || (live.is_applied_by_us() && live.label(SITE_LABEL) == site);
    let is_made_for_all =
        live.kind() == "ServiceAccount" && live.group().is_empty() && live.name() == "default";
    if is_ours || is_made_for_all {
        return None;
    }
    let (tool, by) = other_site(live, site)
        .or_else(|| controller(live))
        .or_else(|| flux(live))
        .or_else(|| argo(live))
        .or_else(|| helm(live))
        .map_or_else(|| (None, managers(live)), |(tool, by)| (Some(tool), by));
    Some(Stranger { tool, by })
}

fn other_site(live: &Object, site: Option<&str>) -> Option<(Tool, String)> {
    let other = live.label(SITE_LABEL).filter(|other| Some(*other) != site)?;
    Some((Tool::Tidegate, other.to_owned()))
}

/// An object that a controller makes and remakes, such as the pods of a set.
fn controller(live: &Object) -> Option<(Tool, String)> {
    let owner = live.controller()?;
    Some((Tool::Controller, format!("{} {}", text_of(owner, "kind"), text_of(owner, "name"))))
}

/// Labels of Flux' kustomize and helm controllers.
fn flux(live: &Object) -> Option<(Tool, String)> {
    let owner = ["kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io"].iter().find_map(|it| {
        let name = live.label(&format!("{it}/name"))?;
        Some(format!("{}/{name}", live.label(&format!("{it}/namespace")).unwrap_or_default()))
    });
    let managed = || by_manager(live, Tool::Flux);
    Some((Tool::Flux, owner.or_else(managed)?))
}

/// The tracking annotation names the application and the object; one that was copied from another object says nothing.
fn argo(live: &Object) -> Option<(Tool, String)> {
    let own = match live.group() {
        "" => live.kind().to_owned(),
        group => format!("{group}/{}", live.kind()),
    };
    let tracked = live.annotation("argocd.argoproj.io/tracking-id").and_then(|id| {
        let (app, of) = id.split_once(':')?;
        let own = format!("{own}:{}/{}", live.namespace(), live.name());
        (of.trim_start_matches('/') == own).then(|| app.to_owned())
    });
    let labelled = || live.label("argocd.argoproj.io/instance").map(ToOwned::to_owned);
    let managed = || by_manager(live, Tool::ArgoCd);
    Some((Tool::ArgoCd, tracked.or_else(labelled).or_else(managed)?))
}

fn helm(live: &Object) -> Option<(Tool, String)> {
    let named = live.annotation("meta.helm.sh/release-name").map(|name| {
        let namespace = live.annotation("meta.helm.sh/release-namespace").unwrap_or_default();
        format!("{namespace}/{name}")
    });
    let labelled = || {
        let is_helms = live.label("app.kubernetes.io/managed-by") == Some("Helm");
        is_helms.then(|| live.label("app.kubernetes.io/instance").unwrap_or_default().to_owned())
    };
    let managed = || by_manager(live, Tool::Helm);
    Some((Tool::Helm, named.or_else(labelled).or_else(managed)?))
}

/// Field managers by which each tool writes.
fn names(tool: Tool) -> &'static [&'static str] {
    match tool {
        Tool::Helm => &["helm"],
        Tool::Flux => &["kustomize-controller", "helm-controller"],
        Tool::ArgoCd => &["argocd-controller", "argocd-application-controller"],
        Tool::Tidegate | Tool::Controller => &[],
    }
}

fn by_manager(live: &Object, tool: Tool) -> Option<String> {
    let known = |entry: &&Value| names(tool).contains(&text_of(entry, "manager"));
    live.managers().find(known).map(|entry| text_of(entry, "manager").to_owned())
}

/// The names of all managers, in order, once each.
fn managers(live: &Object) -> String {
    let mut names: Vec<&str> = live.managers().map(|entry| text_of(entry, "manager")).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The field managers of an object after what `kubectl apply`, and the tool that gave it up, owned has become ours: so
/// that fields which the documents do not have are seen, and go, with the next plan. Without that they would stay for
/// ever, as nobody would be left to remove them. `None` when there is nothing to hand over.
///
/// What people edited stays theirs and shows as a conflict. Fields written at another version of the API stay as they
/// are, as their names may mean something else.
pub fn handed_over(live: &Object, given_up: Option<Tool>) -> Option<Value> {
    let is_client_side = |entry: &Value| {
        CLIENT_SIDE.contains(&text_of(entry, "manager"))
            && text_of(entry, "operation") == "Update"
            && (text_of(entry, "manager") == "kubectl-client-side-apply"
                || live.annotation(LAST_APPLIED).is_some())
    };
    let is_tools = |entry: &Value| {
        given_up.is_some_and(|tool| names(tool).contains(&text_of(entry, "manager")))
    };
    let is_ours = |entry: &Value| {
        text_of(entry, "manager") == FIELD_MANAGER && text_of(entry, "operation") == "Apply"
    };
    let is_handed_over = |entry: &&Value| {
        text_of(entry, "subresource").is_empty()
            && text_of(entry, "apiVersion") == live.api_version()
            && (is_client_side(entry) || is_tools(entry))
    };
    live.managers().find(is_handed_over)?;
    let mut fields = Map::new();
    let mut kept = Vec::new();
    for entry in live.managers() {
        match entry.get("fieldsV1") {
            Some(Value::Object(own)) if is_handed_over(&entry) || is_ours(entry) => {
                unite(&mut fields, own);
            }
            _ => kept.push(entry.clone()),
        }
    }
    kept.push(json!({
        "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": live.api_version(),
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }));
    Some(Value::Array(kept))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn config_map(metadata: &Value) -> Object {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "web", "namespace": "shop"}});
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        Object::new(object)
    }

    fn wanted() -> Object {
        config_map(&json!({"labels": {SITE_LABEL: "hz"}}))
    }

    fn manager(name: &str, operation: &str) -> Value {
        json!([{"manager": name, "operation": operation, "apiVersion": "v1", "fieldsV1": {}}])
    }

    #[rstest]
    #[case::helm_by_annotation(json!({"annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}}), Tool::Helm, "shop/web")]
    #[case::helm_by_label(json!({"labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "web"}}), Tool::Helm, "web")]
    #[case::helm_by_manager(json!({"managedFields": manager("helm", "Update")}), Tool::Helm, "helm")]
    #[case::flux_by_label(json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}}), Tool::Flux, "flux-system/apps")]
    #[case::flux_before_the_helm_that_it_runs(json!({"labels": {"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "shop", "app.kubernetes.io/managed-by": "Helm"}}), Tool::Flux, "shop/web")]
    #[case::argo_by_annotation(json!({"annotations": {"argocd.argoproj.io/tracking-id": "guestbook:/ConfigMap:shop/web"}}), Tool::ArgoCd, "guestbook")]
    #[case::argo_by_manager(json!({"managedFields": manager("argocd-controller", "Apply")}), Tool::ArgoCd, "argocd-controller")]
    #[case::another_site(json!({"labels": {SITE_LABEL: "sh"}, "managedFields": manager("tidegate", "Apply")}), Tool::Tidegate, "sh")]
    #[case::a_controller(json!({"ownerReferences": [{"kind": "Operator", "name": "o", "controller": true}]}), Tool::Controller, "Operator o")]
    fn a_tool_is_known_by_its_marks(#[case] metadata: Value, #[case] tool: Tool, #[case] by: &str) {
        let stranger = stranger(&wanted(), &config_map(&metadata), None).unwrap();
        assert_eq!((stranger.tool, stranger.by.as_str()), (Some(tool), by));
    }

    #[rstest]
    #[case::by_hand(json!({"managedFields": manager("kubectl-create", "Update")}), "kubectl-create")]
    #[case::a_tracking_id_that_was_copied(json!({"annotations": {"argocd.argoproj.io/tracking-id": "guestbook:/ConfigMap:shop/other"}}), "")]
    fn what_no_tool_looks_after_is_a_stranger_all_the_same(
        #[case] metadata: Value,
        #[case] by: &str,
    ) {
        let stranger = stranger(&wanted(), &config_map(&metadata), None).unwrap();
        assert_eq!((stranger.tool, stranger.by.as_str()), (None, by));
    }

    #[test]
    fn what_this_site_applied_is_ours_although_the_inventory_was_lost() {
        let live = config_map(
            &json!({"labels": {SITE_LABEL: "hz"}, "managedFields": manager("tidegate", "Apply")}),
        );
        assert_eq!(stranger(&wanted(), &live, None), None);
    }

    #[test]
    fn fields_of_client_side_apply_become_ours_and_those_of_people_do_not() {
        let live = config_map(&json!({"managedFields": [
            {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
                "fieldsV1": {"f:data": {"f:left-over": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1",
                "fieldsV1": {"f:data": {"f:edited": {}}}},
            {"manager": "tidegate", "operation": "Apply", "apiVersion": "v1",
                "fieldsV1": {"f:data": {"f:ours": {}}}},
        ]}));
        let handed_over = handed_over(&live, None).unwrap();
        let by = |name: &str| {
            let entries = handed_over.as_array().unwrap().iter();
            entries.filter(|it| it["manager"] == name).cloned().collect::<Vec<_>>()
        };
        assert_eq!(by("tidegate").len(), 1);
        assert_eq!(
            by("tidegate")[0]["fieldsV1"],
            json!({"f:data": {"f:left-over": {}, "f:ours": {}}})
        );
        assert_eq!(by("kubectl-edit").len(), 1);
        assert!(by("kubectl-client-side-apply").is_empty());
    }

    #[test]
    fn a_tool_hands_over_only_when_it_was_given_up() {
        let live = config_map(&json!({"managedFields": [
            {"manager": "helm", "operation": "Update", "apiVersion": "v1",
                "fieldsV1": {"f:data": {"f:a": {}}}},
            {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1beta1",
                "fieldsV1": {"f:data": {"f:b": {}}}},
        ]}));
        assert_eq!(handed_over(&live, None), None);
        let given_up = handed_over(&live, Some(Tool::Helm)).unwrap();
        assert_eq!(given_up.as_array().unwrap().len(), 2, "another version stays as it is");
        assert_eq!(given_up[1]["fieldsV1"], json!({"f:data": {"f:a": {}}}));
    }
}
