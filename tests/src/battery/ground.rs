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

/// The plural, the path of the API and whether objects have a namespace, by kind.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("ConfigMap", "configmaps", "/api/v1", true),
    ("Secret", "secrets", "/api/v1", true),
    ("Service", "services", "/api/v1", true),
    ("ServiceAccount", "serviceaccounts", "/api/v1", true),
    ("Endpoints", "endpoints", "/api/v1", true),
    ("Pod", "pods", "/api/v1", true),
    ("PersistentVolumeClaim", "persistentvolumeclaims", "/api/v1", true),
    ("Namespace", "namespaces", "/api/v1", false),
    ("Node", "nodes", "/api/v1", false),
    ("Deployment", "deployments", "/apis/apps/v1", true),
    ("ReplicaSet", "replicasets", "/apis/apps/v1", true),
    ("StatefulSet", "statefulsets", "/apis/apps/v1", true),
    ("DaemonSet", "daemonsets", "/apis/apps/v1", true),
    ("Job", "jobs", "/apis/batch/v1", true),
    ("Ingress", "ingresses", "/apis/networking.k8s.io/v1", true),
    ("Role", "roles", "/apis/rbac.authorization.k8s.io/v1", true),
    ("RoleBinding", "rolebindings", "/apis/rbac.authorization.k8s.io/v1", true),
    ("PodDisruptionBudget", "poddisruptionbudgets", "/apis/policy/v1", true),
];

/// One namespace of one server.
pub struct Ground {
    client: Client,
    namespace: String,
    /// The minor version of the real server that is compared with; fields of later ones are left out.
    minor: u32,
    /// The server's own minor version.
    own_minor: u32,
    user: Option<String>,
    record: String,
}

impl Ground {
    /// A fresh namespace called `namespace`. `compared` is the minor version of the older of the two servers.
    pub async fn new(client: Client, namespace: &str, compared: u32) -> Self {
        let own_minor = minor_version(&client).await;
        let ground = Self {
            client,
            namespace: namespace.to_owned(),
            minor: compared,
            own_minor,
            user: None,
            record: String::new(),
        };
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let created = ground.quietly(&Method::POST, "namespaces", JSON, Some(&object)).await;
        assert_eq!(created.code, 201, "{}", created.body);
        ground
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Deletes the namespace; the server takes its time.
    pub async fn clear(&self) {
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

    /// Whether the server is at least of that minor version.
    pub fn is_at_least(&self, minor: u32) -> bool {
        self.own_minor >= minor
    }

    /// Reads.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.say(&Method::GET, path, JSON, None).await
    }

    /// Creates, in the collection of the object's kind; `query` begins with `&` or is empty.
    pub async fn create_with(&mut self, object: &Value, query: &str) -> Answer {
        let path = format!("{}?fieldManager={WRITER}{query}", plural(object));
        self.say(&Method::POST, &path, JSON, Some(object)).await
    }

    /// Creates, in the collection of the object's kind.
    pub async fn create(&mut self, object: &Value) -> Answer {
        self.create_with(object, "").await
    }

    /// Creates without a record, and counts on its success.
    pub async fn set_up(&mut self, object: &Value) -> Answer {
        let path = format!("{}?fieldManager={WRITER}", plural(object));
        let created = self.quietly(&Method::POST, &path, JSON, Some(object)).await;
        assert_eq!(created.code, 201, "{}", created.body);
        created
    }

    /// Replaces the object of that name.
    pub async fn replace(&mut self, object: &Value) -> Answer {
        let path = format!("{}?fieldManager={WRITER}", path_of(object));
        self.say(&Method::PUT, &path, JSON, Some(object)).await
    }

    /// Applies as a manager; `query` begins with `&` or is empty.
    pub async fn apply_with(&mut self, manager: &str, object: &Value, query: &str) -> Answer {
        let path = format!("{}?fieldManager={manager}{query}", path_of(object));
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
        let text = body.map(Value::to_string).unwrap_or_default();
        // Budgets and evictions were beta until 1.21.
        let text = if self.own_minor < 22 {
            text.replace("\"policy/v1\"", "\"policy/v1beta1\"")
        } else {
            text
        };
        let bytes = text.into_bytes();
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
        let kind = KINDS.iter().find(|(_, of, ..)| *of == plural);
        let (_, _, api, is_namespaced) =
            kind.unwrap_or_else(|| unreachable!("{plural} is not in the table"));
        let api = if plural == "poddisruptionbudgets" && self.own_minor < 22 {
            "/apis/policy/v1beta1"
        } else {
            api
        };
        match is_namespaced {
            true => format!("{api}/namespaces/{}/{path}", self.namespace),
            false => format!("{api}/{path}"),
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

fn plural(object: &Value) -> &'static str {
    let kind = at(object, "/kind").as_str().unwrap_or_default();
    let found = KINDS.iter().find(|(of, ..)| *of == kind);
    found.map_or_else(|| unreachable!("{kind} is not in the table"), |(_, plural, ..)| *plural)
}

fn path_of(object: &Value) -> String {
    let name = at(object, "/metadata/name").as_str().unwrap_or_default();
    format!("{}/{name}", plural(object))
}
