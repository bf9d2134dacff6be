//! Tokens, RBAC, reviews, and what kubectl asks first.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidegate_sandbox::User;
use tower::Service as _;

use crate::bench::{Bench, config, start};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn grant(bench: &Bench) {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"], "verbs": ["get"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "readers"},
        "roleRef": {"kind": "Role", "name": "reader"}, "subjects": [{"kind": "Group", "name": "readers"}]});
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    bench.post(&format!("{base}/roles"), &role).await.expect(201);
    let made = bench.post(&format!("{base}/rolebindings"), &binding).await.expect(201);
    assert_eq!(made["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
}

#[tokio::test(start_paused = true)]
async fn a_user_may_do_what_a_role_says_and_no_more() {
    let bench = start();
    grant(&bench).await;
    let reader = bench.as_user(User::new("rita", &["readers"]));
    reader.get(MAPS).await.expect(200);
    let refused = reader.post(MAPS, &config("a", &json!({}))).await;
    assert_eq!(
        refused.message(),
        "configmaps is forbidden: User \"rita\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    refused.expect(403);
    reader.get("/api/v1/configmaps").await.expect(403);
    reader.get("/api/v1/namespaces/default/secrets/one").await.expect(404);
    reader.get("/api/v1/namespaces/default/secrets/two").await.expect(403);
    let refused = reader.get("/apis/apps/v1/deployments").await;
    assert_eq!(
        refused.message(),
        "deployments.apps is forbidden: User \"rita\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope"
    );
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_would_create_needs_the_right_to_create() {
    let bench = start();
    grant(&bench).await;
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]}]});
    bench.merge(&format!("{base}/roles/reader"), &rules).await.expect(200);
    let reader = bench.as_user(User::new("rita", &["readers"]));
    reader.apply(&format!("{MAPS}/a"), "rita", &config("a", &json!({}))).await.expect(403);
    bench.post(MAPS, &config("a", &json!({}))).await.expect(201);
    reader.apply(&format!("{MAPS}/a"), "rita", &config("a", &json!({"k": "v"}))).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn reviews_answer_as_the_requests_would_be_answered() {
    let bench = start();
    grant(&bench).await;
    let reader = bench.as_user(User::new("rita", &["readers"]));
    let ask = |verb: &str| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
            "resourceAttributes": {"verb": verb, "resource": "configmaps", "namespace": "default"}}})
    };
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let yes = reader.post(path, &ask("list")).await.expect(201);
    assert_eq!(yes["status"]["allowed"], true);
    assert_eq!(
        yes["status"]["reason"],
        "RBAC: allowed by RoleBinding \"readers/default\" of Role \"reader\" to Group \"readers\""
    );
    let no = reader.post(path, &ask("delete")).await.expect(201);
    assert_eq!(no["status"]["allowed"], false);
    let about = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "rita", "groups": ["readers"],
        "resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "default"}}});
    let yes =
        bench.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &about).await.expect(201);
    assert_eq!(yes["status"]["allowed"], true);
}

async fn raw(bench: &Bench, path: &str, headers: &[(&str, &str)]) -> (u16, String, Value) {
    let mut request = http::Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let response = bench.sandbox.service().call(request).await.unwrap();
    let code = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, kind, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_no_token_and_impersonation_takes_the_others_rights() {
    let bench = start();
    let (code, _, _) = raw(&bench, MAPS, &[("authorization", "Bearer wrong")]).await;
    assert_eq!(code, 401);
    let (code, _, _) = raw(&bench, MAPS, &[("authorization", "Bearer sandbox-admin")]).await;
    assert_eq!(code, 200);
    let (code, _, _) =
        raw(&bench, MAPS, &[("impersonate-user", "rita"), ("impersonate-group", "readers")]).await;
    assert_eq!(code, 403);
    grant(&bench).await;
    let (code, _, _) =
        raw(&bench, MAPS, &[("impersonate-user", "rita"), ("impersonate-group", "readers")]).await;
    assert_eq!(code, 200);
}

#[tokio::test(start_paused = true)]
async fn discovery_speaks_both_forms() {
    let bench = start();
    let (_, _, groups) = raw(&bench, "/apis", &[]).await;
    assert!(groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == "apps"));
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let (_, kind, all) = raw(&bench, "/apis", &[("accept", accept)]).await;
    assert_eq!(kind, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let apps = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["metadata"]["name"] == "apps")
        .unwrap()
        .clone();
    let deployments = apps["versions"][0]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["resource"] == "deployments")
        .unwrap()
        .clone();
    assert_eq!(deployments["scope"], "Namespaced");
    assert!(
        deployments["subresources"]
            .as_array()
            .unwrap()
            .iter()
            .any(|sub| sub["subresource"] == "scale")
    );
}

#[tokio::test(start_paused = true)]
async fn kubectl_gets_rows() {
    let bench = start();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, _, table) = raw(&bench, "/api/v1/nodes", &[("accept", accept)]).await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"], json!(["node-1", "Ready", "<none>", "0s", "v1.29.0"]));
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "node-1");
}
