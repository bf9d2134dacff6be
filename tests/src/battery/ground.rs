//! Where a behaviour takes place: one namespace of one server, and the record of what was said.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use kube::core::WatchEvent;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::normal::normalise;

/// How long anything may take that a behaviour waits for. Machines that build at the same time are slow.
pub const PATIENCE: Duration = Duration::from_mins(3);
/// The pause between two looks.
pub const LOOK_AGAIN: Duration = Duration::from_millis(30);
/// The manager of plain writes, said with each of them so that it does not depend on the client's name.
const WRITER: &str = "writer";

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub code: u16,
    /// The body; null when it is empty, a text when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// A part of the body, by JSON pointer; null when absent.
    pub fn at(&self, pointer: &str) -> &Value {
        at(&self.body, pointer)
    }

    /// The object's version in the store.
    pub fn version(&self) -> &str {
        self.at("/metadata/resourceVersion").as_str().unwrap_or_default()
    }
}

/// A part of a value, by JSON pointer; null when absent.
pub fn at<'value>(value: &'value Value, pointer: &str) -> &'value Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The plural, the API version and whether objects have a namespace, by kind.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("ConfigMap", "configmaps", "v1", true),
    ("Secret", "secrets", "v1", true),
    ("Service", "services", "v1", true),
    ("ServiceAccount", "serviceaccounts", "v1", true),
    ("Endpoints", "endpoints", "v1", true),
    ("Event", "events", "v1", true),
    ("LimitRange", "limitranges", "v1", true),
    ("ResourceQuota", "resourcequotas", "v1", true),
    ("Pod", "pods", "v1", true),
    ("PodTemplate", "podtemplates", "v1", true),
    ("ReplicationController", "replicationcontrollers", "v1", true),
    ("PersistentVolumeClaim", "persistentvolumeclaims", "v1", true),
    ("PersistentVolume", "persistentvolumes", "v1", false),
    ("Namespace", "namespaces", "v1", false),
    ("Node", "nodes", "v1", false),
    ("Deployment", "deployments", "apps/v1", true),
    ("ReplicaSet", "replicasets", "apps/v1", true),
    ("StatefulSet", "statefulsets", "apps/v1", true),
    ("DaemonSet", "daemonsets", "apps/v1", true),
    ("ControllerRevision", "controllerrevisions", "apps/v1", true),
    ("Job", "jobs", "batch/v1", true),
    ("CronJob", "cronjobs", "batch/v1", true),
    ("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling/v2", true),
    ("Lease", "leases", "coordination.k8s.io/v1", true),
    ("EndpointSlice", "endpointslices", "discovery.k8s.io/v1", true),
    ("Ingress", "ingresses", "networking.k8s.io/v1", true),
    ("IngressClass", "ingressclasses", "networking.k8s.io/v1", false),
    ("NetworkPolicy", "networkpolicies", "networking.k8s.io/v1", true),
    ("RuntimeClass", "runtimeclasses", "node.k8s.io/v1", false),
    ("Role", "roles", "rbac.authorization.k8s.io/v1", true),
    ("RoleBinding", "rolebindings", "rbac.authorization.k8s.io/v1", true),
    ("ClusterRole", "clusterroles", "rbac.authorization.k8s.io/v1", false),
    ("ClusterRoleBinding", "clusterrolebindings", "rbac.authorization.k8s.io/v1", false),
    ("PodDisruptionBudget", "poddisruptionbudgets", "policy/v1", true),
    ("PriorityClass", "priorityclasses", "scheduling.k8s.io/v1", false),
    ("StorageClass", "storageclasses", "storage.k8s.io/v1", false),
    ("CSIDriver", "csidrivers", "storage.k8s.io/v1", false),
    (
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "admissionregistration.k8s.io/v1",
        false,
    ),
    (
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "admissionregistration.k8s.io/v1",
        false,
    ),
    ("CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io/v1", false),
];

/// Kinds that were beta in older servers: the API version now and then.
pub(super) const WERE_BETA: &[(&str, &str, &str)] = &[
    ("PodDisruptionBudget", "policy/v1", "policy/v1beta1"),
    ("Eviction", "policy/v1", "policy/v1beta1"),
    ("CronJob", "batch/v1", "batch/v1beta1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v2beta2"),
    ("EndpointSlice", "discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"),
];

/// One namespace of one server.
pub struct Ground {
    client: Client,
    namespace: String,
    /// The minor version of the real server that is compared with; fields of later ones are left out.
    minor: u32,
    /// Which of [`WERE_BETA`] this server has in their old versions only.
    beta: Vec<&'static str>,
    user: Option<String>,
    record: String,
    /// Paths of what is outside of the namespace and goes with it.
    outside: Vec<String>,
}

impl Ground {
    /// A fresh namespace called `namespace`. `compared` is the minor version of the older of the two servers.
    pub async fn new(client: Client, namespace: &str, compared: u32) -> Self {
        let mut ground = Self {
            client,
            namespace: namespace.to_owned(),
            minor: compared,
            beta: Vec::new(),
            user: None,
            record: String::new(),
            outside: Vec::new(),
        };
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        for (kind, now, _) in WERE_BETA {
            let served = ground.look(&format!("/apis/{now}")).await;
            let resources = served.at("/resources").as_array().cloned().unwrap_or_default();
            // Evictions are in the list of pods only, and came with budgets.
            let kind_there = if *kind == "Eviction" { "PodDisruptionBudget" } else { kind };
            if !resources.iter().any(|resource| resource["kind"] == kind_there) {
                ground.beta.push(kind);
            }
        }
        let created = ground.quietly(&Method::POST, "namespaces", JSON, Some(&object)).await;
        assert_eq!(created.code, 201, "{}", created.body);
        ground
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Deletes what was made outside of the namespace, and the namespace; the server takes its time.
    pub async fn clear(&self) {
        for path in &self.outside {
            self.quietly(&Method::DELETE, path, JSON, None).await;
        }
        self.quietly(&Method::DELETE, &format!("namespaces/{}", self.namespace), JSON, None).await;
    }

    /// What was said, as text.
    pub fn into_record(self) -> String {
        self.record
    }

    /// From now on the requests are made as that user; `None` is the administrator.
    pub fn become_user(&mut self, user: Option<&str>) {
        self.user = user.map(str::to_owned);
    }

    /// Reads.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.say(&Method::GET, path, JSON, None).await
    }

    /// Creates, in the collection of the object's kind; `query` begins with `&` or is empty.
    pub async fn create_with(&mut self, object: &Value, query: &str) -> Answer {
        let path = format!("{}?fieldManager={WRITER}{query}", self.collection_of(object));
        self.say(&Method::POST, &path, JSON, Some(object)).await
    }

    /// Creates, in the collection of the object's kind.
    pub async fn create(&mut self, object: &Value) -> Answer {
        self.create_with(object, "").await
    }

    /// Creates without a record, and counts on its success.
    pub async fn set_up(&mut self, object: &Value) -> Answer {
        let path = format!("{}?fieldManager={WRITER}", self.collection_of(object));
        let created = self.quietly(&Method::POST, &path, JSON, Some(object)).await;
        assert_eq!(created.code, 201, "{}", created.body);
        self.clean_up(&self.path_of(object));
        created
    }

    /// Replaces the object of that name.
    pub async fn replace(&mut self, object: &Value) -> Answer {
        let path = format!("{}?fieldManager={WRITER}", self.path_of(object));
        self.say(&Method::PUT, &path, JSON, Some(object)).await
    }

    /// Applies as a manager; `query` begins with `&` or is empty.
    pub async fn apply_with(&mut self, manager: &str, object: &Value, query: &str) -> Answer {
        let path = format!("{}?fieldManager={manager}{query}", self.path_of(object));
        self.say(&Method::PATCH, &path, "application/apply-patch+yaml", Some(object)).await
    }

    /// Applies as a manager.
    pub async fn apply(&mut self, manager: &str, object: &Value) -> Answer {
        self.apply_with(manager, object, "").await
    }

    /// Applies as a manager and takes over what others have.
    pub async fn force(&mut self, manager: &str, object: &Value) -> Answer {
        self.apply_with(manager, object, "&force=true").await
    }

    /// Patches: `kind` is `merge`, `strategic-merge` or `json`.
    pub async fn patch(&mut self, kind: &str, path: &str, patch: &Value) -> Answer {
        let path = format!("{path}?fieldManager={WRITER}");
        let content = format!("application/{kind}-patch+json");
        self.say(&Method::PATCH, &path, &content, Some(patch)).await
    }

    /// Deletes; `options` is null or `DeleteOptions`.
    pub async fn delete(&mut self, path: &str, options: &Value) -> Answer {
        let body = Some(options).filter(|options| !options.is_null());
        self.say(&Method::DELETE, path, JSON, body).await
    }

    /// Sends, and records what comes back.
    pub async fn say(
        &mut self,
        method: &Method,
        path: &str,
        content: &str,
        body: Option<&Value>,
    ) -> Answer {
        let answer = self.quietly(method, path, content, body).await;
        let user = self.user.as_ref().map_or(String::new(), |user| format!(" as {user}"));
        // Tokens and versions in a query are the server's own.
        let shown: Vec<_> = path.split('&').filter(|part| !part.starts_with("continue=")).collect();
        let shown = shown.join("&");
        self.note(&format!("{method} {shown}{user}: {}", answer.code), &answer.body);
        answer
    }

    /// Records a value under a heading.
    pub fn note(&mut self, heading: &str, value: &Value) {
        let text = serde_yaml::to_string(&normalise(value, self.minor)).expect("JSON is YAML");
        self.record.push_str(heading);
        for line in text.lines() {
            self.record.push_str("\n  ");
            self.record.push_str(line);
        }
        self.record.push('\n');
    }

    /// Sends without a record.
    pub async fn quietly(
        &self,
        method: &Method,
        path: &str,
        content: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(self.resolve(path))
            .header("Accept", "application/json")
            .header("Content-Type", content);
        if let Some(user) = &self.user {
            request = request.header("Impersonate-User", user);
        }
        let bytes = body.map(|body| self.in_own_version(body).to_string()).unwrap_or_default();
        let bytes = bytes.into_bytes();
        let request = request.body(Body::from(bytes)).expect("a well-formed request");
        let response = self.client.send(request).await.expect("an answer");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.expect("the whole answer");
        let body =
            serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                match String::from_utf8_lossy(&bytes) {
                    text if text.is_empty() => Value::Null,
                    text => Value::from(text.into_owned()),
                }
            });
        Answer { code, body }
    }

    /// Reads without a record.
    pub async fn look(&self, path: &str) -> Answer {
        self.quietly(&Method::GET, path, JSON, None).await
    }

    /// Looks until the answer is as wanted, and gives it.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.look(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "{path} did not become as wanted: {:#}",
                answer.body
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until what is created then is a second younger than what is there: ages are told in seconds.
    pub async fn until_the_next_second(&self) {
        let query = "configmaps?dryRun=All";
        let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "age"}});
        let mut first = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let probed = self.quietly(&Method::POST, query, JSON, Some(&probe)).await;
            let now = probed.at("/metadata/creationTimestamp").clone();
            if *first.get_or_insert_with(|| now.clone()) != now {
                return;
            }
            assert!(Instant::now() < deadline, "the server's clock stands still at {now}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Watches up to the event that is the last; `path` has a query. Without a record.
    pub async fn watch(&self, path: &str, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let uri = format!("{}&watch=true", self.resolve(path));
        let request = Request::get(uri).body(Vec::new()).expect("a well-formed request");
        let events = self.client.request_events::<Value>(request).await.expect("a watch");
        let mut events = pin!(events);
        let mut told = Vec::new();
        loop {
            let event = tokio::time::timeout(PATIENCE, events.next()).await;
            assert!(event.is_ok(), "{path} did not tell of the last: {told:#?}");
            let event = event.ok().flatten();
            let event = match event.expect("the watch to go on").expect("an event") {
                WatchEvent::Added(object) => json!({"type": "ADDED", "object": object}),
                WatchEvent::Modified(object) => json!({"type": "MODIFIED", "object": object}),
                WatchEvent::Deleted(object) => json!({"type": "DELETED", "object": object}),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => json!({"type": "ERROR", "object": status}),
            };
            let ends = is_last(&event) || event["type"] == "ERROR";
            told.push(event);
            if ends {
                return told;
            }
        }
    }

    /// Fails when what holds now does not hold for that long.
    pub async fn stays(&self, path: &str, time: Duration, holds: impl Fn(&Answer) -> bool) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let answer = self.look(path).await;
            assert!(holds(&answer), "{path} did not stay: {:#}", answer.body);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The whole path of `plural/name…` in this namespace; one that begins with `/` is whole already.
    fn resolve(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.replace("NAMESPACE", &self.namespace);
        }
        let end = path.find(['/', '?']).unwrap_or(path.len());
        let plural = path.get(..end).unwrap_or_default();
        let found = KINDS.iter().find(|(_, of, ..)| *of == plural);
        let (kind, _, api, is_namespaced) =
            found.unwrap_or_else(|| unreachable!("{plural} is not in the table"));
        let api = self.own_version(kind, api);
        let root = if api.contains('/') { "/apis" } else { "/api" };
        match is_namespaced {
            true => format!("{root}/{api}/namespaces/{}/{path}", self.namespace),
            false => format!("{root}/{api}/{path}"),
        }
    }

    /// The API version in which this server has a kind.
    fn own_version<'a>(&self, kind: &str, api: &'a str) -> &'a str {
        let is_beta = |(of, now, _): &&(&str, &str, &str)| {
            *of == kind && *now == api && self.beta.contains(of)
        };
        WERE_BETA.iter().find(is_beta).map_or(api, |(.., then)| then)
    }

    /// A body in the version in which this server has the kind.
    fn in_own_version(&self, body: &Value) -> Value {
        let mut body = body.clone();
        let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let own = self.own_version(word("kind"), word("apiVersion")).to_owned();
        if !own.is_empty() && body.is_object() {
            body["apiVersion"] = own.into();
        }
        body
    }

    /// The path of the collection that an object belongs to. A custom resource has a namespace, and its plural is regular.
    pub(super) fn collection_of(&self, object: &Value) -> String {
        let word = |pointer: &str| at(object, pointer).as_str().unwrap_or_default();
        let kind = word("/kind");
        match KINDS.iter().find(|(of, ..)| *of == kind) {
            Some((_, plural, ..)) => (*plural).to_owned(),
            None => format!(
                "/apis/{}/namespaces/{}/{}s",
                word("/apiVersion"),
                self.namespace,
                kind.to_lowercase()
            ),
        }
    }

    /// The path of an object.
    pub(super) fn path_of(&self, object: &Value) -> String {
        let name = at(object, "/metadata/name").as_str().unwrap_or_default();
        format!("{}/{name}", self.collection_of(object))
    }

    /// Remembers that this is to go in the end, when the namespace does not take it with it.
    pub(super) fn clean_up(&mut self, path: &str) {
        let path = self.resolve(path);
        if !path.contains(&format!("/namespaces/{}/", self.namespace)) {
            self.outside.insert(0, path);
        }
    }
}

/// The type of plain bodies.
pub const JSON: &str = "application/json";

/// The minor version that a server says it is.
pub async fn minor_version(client: &Client) -> u32 {
    let version = client.apiserver_version().await.expect("a version");
    let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number as the minor version")
}

/// A pod that nothing is written into meanwhile, for what is about the API and not about running pods: no scheduler serves it.
pub fn unserved_pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "schedulerName": "nobody", "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "main:1"}]}})
}
