//! Access: roles, bindings, impersonated users and the questions about them.

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ground::{Ground, JSON, LOOK_AGAIN, PATIENCE};

const RBAC: &str = "rbac.authorization.k8s.io";

/// A role for reading configuration and for changing one of them, bound to ann and to a group.
async fn set_up(ground: &mut Ground) {
    let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["update", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["*"]},
    ]});
    let binding = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": RBAC}, {"kind": "Group", "name": "readers", "apiGroup": RBAC}]});
    ground.set_up(&role).await;
    ground.set_up(&binding).await;
    for name in ["mine", "other"] {
        ground
            .set_up(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}))
            .await;
    }
    // The server's authorizer follows with a watch of its own.
    let ask = review(ground, "ann", "get", "", "configmaps", "");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = ground.quietly(&Method::POST, path, JSON, Some(&ask)).await;
        if answer.at("/status/allowed") == &json!(true) {
            return;
        }
        assert!(Instant::now() < deadline, "the role was never honoured: {:#}", answer.body);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn review(
    ground: &Ground,
    user: &str,
    verb: &str,
    group: &str,
    resource: &str,
    name: &str,
) -> Value {
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": user,
        "resourceAttributes": {"namespace": ground.namespace(), "verb": verb, "group": group,
            "resource": resource, "subresource": part, "name": name},
    }})
}

pub(super) async fn roles_allow_and_forbid(ground: &mut Ground) {
    set_up(ground).await;
    for (user, verb, group, resource, name) in [
        ("ann", "get", "", "configmaps", ""),
        ("ann", "delete", "", "configmaps", "mine"),
        ("ann", "patch", "", "configmaps", "mine"),
        ("ann", "patch", "", "configmaps", "other"),
        ("ann", "patch", "", "configmaps", ""),
        ("ann", "get", "", "secrets", ""),
        ("ann", "update", "apps", "deployments/scale", "x"),
        ("ann", "update", "apps", "deployments", "x"),
        ("bob", "get", "", "configmaps", ""),
    ] {
        let ask = review(ground, user, verb, group, resource, name);
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = ground.quietly(&Method::POST, path, JSON, Some(&ask)).await;
        let told = json!([answer.code, answer.at("/status/allowed")]);
        ground.note(&format!("{user} {verb} {group} {resource} {name}"), &told);
    }
    let mut ask = review(ground, "bob", "get", "", "configmaps", "");
    ask["spec"]["groups"] = json!(["readers"]);
    let answer = ground
        .quietly(
            &Method::POST,
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            JSON,
            Some(&ask),
        )
        .await;
    ground.note("bob of the readers", answer.at("/status/allowed"));
}

pub(super) async fn impersonated_users_are_held_to_their_roles(ground: &mut Ground) {
    set_up(ground).await;
    ground.become_user(Some("ann"));
    ground.get("configmaps/mine").await;
    ground.get("secrets").await;
    ground.delete("configmaps/mine", &Value::Null).await;
    let patch = json!({"data": {"by": "ann"}});
    let answer = ground.patch("merge", "configmaps/mine", &patch).await;
    ground.note("code", &json!(answer.code));
    ground.patch("merge", "configmaps/other", &patch).await;
    ground.get("/api/v1/nodes").await;
    ground.become_user(Some("bob"));
    ground.get("configmaps/mine").await;
    ground.become_user(None);
}

pub(super) async fn a_user_can_ask_what_it_may_do(ground: &mut Ground) {
    set_up(ground).await;
    ground.become_user(Some("ann"));
    for (verb, resource) in [("get", "configmaps"), ("delete", "configmaps"), ("list", "secrets")] {
        let ask = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
            "resourceAttributes": {"namespace": ground.namespace(), "verb": verb, "resource": resource}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = ground.quietly(&Method::POST, path, JSON, Some(&ask)).await;
        ground.note(
            &format!("{verb} {resource}"),
            &json!([answer.code, answer.at("/status/allowed")]),
        );
    }
    ground.become_user(None);
}
