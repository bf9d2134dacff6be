//! Webhooks that change, refuse, hang or are down: what the difference says of that, and what the apply makes of it. A real
//! API server asks a webhook of the test; the sandbox asks none.

use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use serde_json::{Value, json};
use tidegate_core::change::{Action, Change, ChangeSet, Confidence};
use tidegate_core::object::{Object, ObjectRef, Propagation};
use tidegate_core::progress::{EffectFailure, Terms};
use tidegate_tests::canary;
use tidegate_tests::real_cluster::RealCluster;
use tidegate_tests::webhook::{Answer, Call, Webhook};

use super::{World, config_map, lines, of_kind, real, until, workload};

/// A namespace whose objects a webhook has a say in.
struct Guarded {
    world: World,
    webhook: Webhook,
    configuration: String,
}

impl Guarded {
    /// `settings` are those of the webhook that matter to the test; the server knows it when this returns.
    async fn new(
        name: &str,
        kind: &str,
        settings: &Value,
        rule: impl Fn(&Value) -> Answer + Send + Sync + 'static,
    ) -> Option<Self> {
        let world = real(name).await?;
        let webhook =
            Webhook::start(RealCluster::shared()?, |_| Answer::Deny(403, "not yet".to_owned()));
        let webhook = webhook.await;
        let own = format!("/api/v1/namespaces/{}", world.namespace);
        let label = json!({"metadata": {"labels": {"guarded": world.namespace}}});
        world.send(&Method::PATCH, &own, &label).await;
        let mut hook = json!({
            "name": "guard.shop.example", "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 5,
            "admissionReviewVersions": ["v1"], "clientConfig": webhook.client_config(),
            "namespaceSelector": {"matchLabels": {"guarded": world.namespace}},
            "rules": [{"apiGroups": ["", "apps"], "apiVersions": ["v1"], "operations": ["*"],
                "resources": ["configmaps", "secrets", "deployments"]}]});
        for (name, value) in settings.as_object().unwrap() {
            hook[name] = value.clone();
        }
        // Webhooks with effects are taken only at this version, as far as 1.21.
        let version = if hook["sideEffects"] == "None" { "v1" } else { "v1beta1" };
        let path =
            format!("/apis/admissionregistration.k8s.io/{version}/{kind}webhookconfigurations");
        let body = json!({"metadata": {"name": world.namespace}, "webhooks": [hook]});
        world.send(&Method::POST, &path, &body).await;
        let configuration = format!("{path}/{}", world.namespace);
        let guarded = Self { world, webhook, configuration };
        guarded.probe_until(|it| !it).await;
        guarded.webhook.says(rule);
        guarded.calls();
        Some(guarded)
    }

    /// The server takes a moment to know its webhooks: asks until an object is taken, or is not.
    async fn probe_until(&self, is_reached: impl Fn(bool) -> bool) {
        let path = format!("/api/v1/namespaces/{}/configmaps?dryRun=All", self.world.namespace);
        let probe = json!({"metadata": {"name": "probe"}});
        until(|| async {
            is_reached(self.world.try_send(&Method::POST, &path, &probe).await).then_some(())
        })
        .await;
    }

    /// Changes a setting of the webhook.
    async fn set(&self, name: &str, value: &Value) {
        let patch =
            json!([{"op": "replace", "path": format!("/webhooks/0/{name}"), "value": value}]);
        let content = "application/json-patch+json";
        self.world.send_as(content, &Method::PATCH, &self.configuration, &patch).await;
    }

    /// What the webhook was asked about the test's own objects; controllers make some too.
    fn calls(&self) -> Vec<Call> {
        let calls = self.webhook.take_calls();
        calls.into_iter().filter(|call| call.object.ends_with("/web")).collect()
    }

    /// The difference; nothing may be asked of the webhook but what is never stored.
    async fn diff(&self) -> ChangeSet {
        let set = self.world.diff().await;
        let calls = self.calls();
        assert!(calls.iter().all(|call| call.is_dry_run), "{calls:?}");
        set
    }

    /// Applies one of the wanted objects, once.
    async fn try_apply(&self, kind: &str) -> Result<Object, EffectFailure> {
        let is_it = |reference: &&ObjectRef| reference.kind == kind;
        let wanted = self.world.desired.objects.iter().find(|it| is_it(&&it.reference)).unwrap();
        let applied = self.world.cluster.apply(&wanted.body(), &Terms::none(), &|_| None).await;
        if let Err(failure) = &applied {
            canary::assert_none("a failure", format!("{failure:?}"));
        }
        applied
    }
}

fn of<'a>(set: &'a ChangeSet, kind: &str) -> &'a Change {
    set.changes.iter().find(|change| change.object.kind == kind).unwrap()
}

fn is(asked: &Value, operation: &str) -> bool {
    operation.is_empty() || asked["operation"] == operation
}

/// Takes images from a mirror, and puts a container and a label of its own beside.
fn mirrored(asked: &Value, operation: &str) -> Answer {
    let containers = asked["object"]["spec"]["template"]["spec"]["containers"].as_array();
    let Some(containers) = containers.filter(|_| is(asked, operation)) else {
        return Answer::Allow;
    };
    let at = "/spec/template/spec/containers";
    let mut patch =
        vec![json!({"op": "add", "path": "/metadata/labels", "value": {"mirrored": "yes"}})];
    let image = containers[0]["image"].as_str().unwrap();
    if !image.starts_with("mirror/") {
        let image = format!("mirror/{image}");
        patch.push(json!({"op": "replace", "path": format!("{at}/0/image"), "value": image}));
    }
    if containers.len() == 1 {
        let proxy = json!({"name": "proxy", "image": "mesh/proxy:1", "resources": {}});
        patch.push(json!({"op": "add", "path": format!("{at}/-"), "value": proxy}));
    }
    Answer::Change(json!(patch))
}

fn web(image: &str, replicas: u32) -> Value {
    let mut deployment = workload("Deployment", &json!({"replicas": replicas}));
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    deployment
}

const IMAGE: &str = "spec.template.spec.containers[name=web].image";

#[tokio::test]
async fn what_a_webhook_makes_is_what_is_compared() {
    let rule = |asked: &Value| mirrored(asked, "");
    let Some(mut it) = Guarded::new("mirrored", "mutating", &json!({}), rule).await else { return };
    it.world.want(&[web("shop/web:1", 0)]);
    let set = it.diff().await;
    let told = lines(of(&set, "Deployment"));
    assert!(told.contains(&format!("{IMAGE}: - -> \"mirror/shop/web:1\"")), "{told:#?}");
    it.world.apply().await;
    it.calls();
    let set = it.diff().await;
    assert!(set.is_empty(), "what was rewritten, and what was put beside: {set:#?}");
    it.world.want(&[web("shop/web:2", 1)]);
    let set = it.diff().await;
    assert_eq!(
        lines(of(&set, "Deployment")),
        [
            "spec.replicas: 0 -> 1".to_owned(),
            format!("{IMAGE}: \"mirror/shop/web:1\" -> \"mirror/shop/web:2\""),
        ]
    );
    it.world.apply().await;
    assert!(it.world.diff().await.is_empty());
    // Drift of what the webhook wrote into our own field.
    it.webhook.says(|_| Answer::Allow);
    let path = "/apis/apps/v1/namespaces/NS/deployments/web";
    let by_hand = json!([{"name": "web", "image": "evil/web:2"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": by_hand}}}});
    let at = format!("{path}?fieldManager=kubectl-edit").replace("NS", &it.world.namespace);
    let content = "application/strategic-merge-patch+json";
    it.world.send_as(content, &Method::PATCH, &at, &patch).await;
    it.webhook.says(|asked| mirrored(asked, ""));
    it.calls();
    let set = until(|| async { Some(it.diff().await).filter(|set| !set.is_empty()) }).await;
    let change = of(&set, "Deployment");
    assert!(change.drift);
    assert_eq!(lines(change), [format!("{IMAGE}: \"evil/web:2\" -> \"mirror/shop/web:2\"")]);
}

#[tokio::test]
async fn a_webhook_that_acts_on_one_operation_only_makes_no_endless_difference() {
    for operation in ["CREATE", "UPDATE"] {
        let rule = move |asked: &Value| mirrored(asked, operation);
        let name = format!("mirrored-{}", operation.to_lowercase());
        let Some(mut it) = Guarded::new(&name, "mutating", &json!({}), rule).await else { return };
        it.world.want(&[web("shop/web:1", 0)]);
        it.world.apply().await;
        it.calls();
        // The next write is an update, and what that does is shown.
        let set = it.diff().await;
        let (plain, mirror) = ("\"shop/web:1\"", "\"mirror/shop/web:1\"");
        let (before, after) = if operation == "CREATE" { (mirror, plain) } else { (plain, mirror) };
        let told = lines(of(&set, "Deployment"));
        assert!(told.contains(&format!("{IMAGE}: {before} -> {after}")), "{told:#?}");
        it.world.apply().await;
        it.calls();
        let set = it.diff().await;
        assert!(set.is_empty(), "{set:#?}");
    }
}

#[tokio::test]
async fn what_a_webhook_writes_anew_each_time_is_no_difference_of_ours() {
    let count = AtomicU32::new(0);
    let rule = move |_: &Value| {
        let stamp = count.fetch_add(1, Ordering::Relaxed).to_string();
        Answer::Change(
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"stamp": stamp}}]),
        )
    };
    let Some(mut it) = Guarded::new("stamped", "mutating", &json!({}), rule).await else { return };
    // Rewritten by us, and then only looked at.
    let of = |value: &str| [config_map("web", &json!({"a": value})), web("shop/web:1", 0)];
    it.world.want(&of("1"));
    it.world.apply().await;
    it.calls();
    let set = it.diff().await;
    assert!(set.is_empty(), "{set:#?}");
    it.world.want(&of("2"));
    let set = it.diff().await;
    assert_eq!(set.changes.len(), 1, "{set:#?}");
    let told = lines(&set.changes[0]);
    assert!(told.contains(&"data.a: \"1\" -> \"2\"".to_owned()), "{told:#?}");
    assert!(told.iter().any(|line| line.starts_with("metadata.annotations.stamp: ")), "{told:#?}");
    it.world.apply().await;
    assert!(it.world.diff().await.is_empty());
}

#[tokio::test]
async fn what_a_webhook_denies_is_refused_with_its_words_and_nothing_else_is() {
    let settings = json!({"timeoutSeconds": 10});
    let Some(mut it) = Guarded::new("denied", "validating", &settings, |_| Answer::Allow).await
    else {
        return;
    };
    let objects = [
        config_map("web", &json!({"a": "1"})),
        of_kind("v1", "Secret", &json!({"stringData": {"password": canary::secret("web")}})),
        of_kind("v1", "ServiceAccount", &json!({})),
    ];
    it.world.want(&objects);
    // Whatever status a webhook gives: no state of the server, and no word about another version.
    for code in [400, 403, 404, 409, 422, 429, 500, 503] {
        it.webhook
            .says(move |asked| Answer::Deny(code, format!("no: {}", asked["object"]["data"])));
        let set = it.diff().await;
        assert_eq!(set.changes.len(), 1, "{code}: {set:#?}");
        let account = of(&set, "ServiceAccount");
        assert_eq!((account.action, account.confidence), (Action::Create, Confidence::Exact));
        let told: Vec<_> =
            set.gaps.iter().map(|gap| (gap.gap.code.as_str(), gap.refused)).collect();
        assert_eq!(told, [("CLUSTER/INVALID", true); 2], "{code}: {set:#?}");
        let words =
            "admission webhook \"guard.shop.example\" denied the request: no: {\"a\":\"1\"}";
        assert_eq!(set.gaps[0].gap.message, words);
        let secret = &set.gaps[1].gap.message;
        assert!(secret.contains("guard.shop.example"), "{secret}");
        // The same at the apply, had the webhook come in between.
        let failure = it.try_apply("ConfigMap").await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.is_transient), ("CLUSTER/INVALID", false));
        assert_eq!(failure.message, words, "{code}");
        assert_eq!(failure.conflicts, []);
        it.try_apply("Secret").await.unwrap_err();
        it.calls();
    }
    // A deletion that is denied is none.
    it.webhook.says(|_| Answer::Allow);
    it.world.apply().await;
    let (reference, entry) = it.world.inventory.entries.iter().next().unwrap();
    let uid = entry.uid.clone().unwrap();
    for code in [403, 404, 409] {
        it.webhook.says(move |asked| match asked["operation"].as_str() {
            Some("DELETE") => Answer::Deny(code, "still used".to_owned()),
            _ => Answer::Allow,
        });
        let failure = it
            .world
            .cluster
            .delete(reference, "v1", &uid, Propagation::Background)
            .await
            .unwrap_err();
        assert!(failure.message.ends_with("denied the request: still used"), "{failure:?}");
    }
    it.calls();
    assert!(it.diff().await.is_empty(), "all of it is there");
}

#[tokio::test]
async fn a_webhook_without_dry_run_is_asked_when_it_is_applied_and_not_before() {
    for effects in ["Some", "Unknown"] {
        let settings = json!({"sideEffects": effects});
        let rule = |asked: &Value| match asked["object"]["data"]["a"].as_str() {
            Some("1") => {
                Answer::Change(json!([{"op": "replace", "path": "/data/a", "value": "rewritten"}]))
            }
            _ => Answer::Allow,
        };
        let name = format!("effects-{}", effects.to_lowercase());
        let Some(mut it) = Guarded::new(&name, "mutating", &settings, rule).await else { return };
        it.world.want(&[
            config_map("web", &json!({"a": "1", "b": "1"})),
            of_kind("v1", "ServiceAccount", &json!({})),
        ]);
        let set = it.world.diff().await;
        assert_eq!(set.gaps, []);
        let map = of(&set, "ConfigMap");
        assert_eq!(map.confidence, Confidence::Unverified);
        assert_eq!(map.warnings, ["CLUSTER/WEBHOOK_WITHOUT_DRY_RUN: guard.shop.example"]);
        assert_eq!(of(&set, "ServiceAccount").confidence, Confidence::Exact);
        assert_eq!(it.calls(), [], "it might do something");
        it.world.apply().await;
        let call = Call {
            operation: "CREATE".to_owned(),
            object: "ConfigMap/web".to_owned(),
            is_dry_run: false,
        };
        assert_eq!(it.calls(), [call]);
        // What it rewrote in our own request is as good as it gets: writing it again would rewrite it again.
        let set = it.world.diff().await;
        assert!(set.is_empty(), "{set:#?}");
        // What somebody changes is seen all the same.
        it.world
            .edit("/api/v1/namespaces/NS/configmaps/web", &json!({"data": {"b": "by hand"}}))
            .await;
        it.calls();
        let set =
            until(|| async { Some(it.world.diff().await).filter(|set| !set.is_empty()) }).await;
        let map = of(&set, "ConfigMap");
        assert_eq!(lines(map), ["data.b: \"by hand\" -> \"1\""]);
        assert!(map.drift);
        assert_eq!(it.calls(), []);
    }
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_holds_what_it_guards_as_its_policy_says() {
    let settings = json!({"timeoutSeconds": 1});
    let Some(mut it) = Guarded::new("silent", "validating", &settings, |_| Answer::Silence).await
    else {
        return;
    };
    it.world.want(&[
        config_map("web", &json!({"a": "1"})),
        of_kind("v1", "ServiceAccount", &json!({})),
    ]);
    // It hangs; then nobody is there.
    let gone = json!({"url": "https://127.0.0.1:1/"});
    for config in [None, Some(gone)] {
        if let Some(config) = &config {
            it.set("failurePolicy", &json!("Fail")).await;
            it.set("clientConfig", config).await;
        }
        it.probe_until(|is_taken| !is_taken).await;
        it.world.fresh();
        let set = it.diff().await;
        assert_eq!(set.gaps, [], "{set:#?}");
        let map = of(&set, "ConfigMap");
        assert_eq!(map.confidence, Confidence::Unverified);
        assert_eq!(map.warnings, ["CLUSTER/WEBHOOK_SILENT: guard.shop.example"]);
        assert_eq!(of(&set, "ServiceAccount").confidence, Confidence::Exact);
        let failure = it.try_apply("ConfigMap").await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.is_transient), ("CLUSTER/WEBHOOK_SILENT", true));
        it.calls();

        it.set("failurePolicy", &json!("Ignore")).await;
        it.probe_until(|is_taken| is_taken).await;
        it.world.fresh();
        let set = it.diff().await;
        let map = of(&set, "ConfigMap");
        assert_eq!((map.confidence, map.warnings.as_slice()), (Confidence::Exact, [].as_slice()));
    }
    // And when it is back, what waited for it goes on.
    it.webhook.says(|_| Answer::Allow);
    it.set("clientConfig", &it.webhook.client_config()).await;
    it.set("failurePolicy", &json!("Fail")).await;
    it.world.apply().await;
    it.calls();
    assert!(it.diff().await.is_empty());
}
