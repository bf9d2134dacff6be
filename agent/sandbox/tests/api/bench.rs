//! A sandbox and the requests that the tests make to it.

use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tidegate_sandbox::{ApiService, Options, Sandbox, User};
use tower::Service as _;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.value);
        self.value
    }

    pub(crate) fn message(&self) -> &str {
        self.value["message"].as_str().unwrap_or_default()
    }

    /// `field: message` of every cause.
    pub(crate) fn causes(&self) -> Vec<String> {
        let causes = self.value["details"]["causes"].as_array().cloned().unwrap_or_default();
        causes
            .iter()
            .map(|cause| {
                format!(
                    "{}: {}",
                    cause["field"].as_str().unwrap_or_default(),
                    cause["message"].as_str().unwrap_or_default()
                )
            })
            .collect()
    }
}

/// A sandbox and a client of it.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    service: ApiService,
}

pub(crate) fn start() -> Bench {
    with(Options { start: Some("2026-01-01T00:00:00Z".parse().unwrap()), ..Options::default() })
}

pub(crate) fn with(options: Options) -> Bench {
    let sandbox = Sandbox::start(options).unwrap();
    let service = sandbox.service();
    Bench { sandbox, service }
}

impl Bench {
    pub(crate) fn as_user(&self, user: User) -> Self {
        Self { sandbox: self.sandbox.clone(), service: self.sandbox.service_as(user) }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("user-agent", "bench/1")
            .body(Full::new(bytes::Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        let response = self.service.clone().call(request).await.unwrap();
        let code = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code, value, warnings }
    }

    /// Opens a watch; its lines come as they happen.
    pub(crate) async fn watch(&self, path: &str) -> Lines {
        let request = Request::get(path).body(Full::new(bytes::Bytes::new())).unwrap();
        let response = self.service.clone().call(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    pub(crate) async fn post(&self, path: &str, value: &Value) -> Answer {
        self.send("POST", path, "application/json", &value.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, value: &Value) -> Answer {
        self.send("PUT", path, "application/json", &value.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", "").await
    }

    pub(crate) async fn merge(&self, path: &str, value: &Value) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", &value.to_string()).await
    }

    pub(crate) async fn apply(&self, path: &str, manager: &str, value: &Value) -> Answer {
        self.apply_with(path, &format!("fieldManager={manager}"), value).await
    }

    pub(crate) async fn apply_with(&self, path: &str, query: &str, value: &Value) -> Answer {
        let path = format!("{path}?{query}");
        self.send("PATCH", &path, "application/apply-patch+yaml", &value.to_string()).await
    }

    /// Lets the controllers and the collector come to rest.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// The events of a watch.
pub(crate) struct Lines {
    body: tidegate_sandbox::server::Body,
}

impl Lines {
    /// The next event, or `None` when the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let frame = self.body.frame().await?.unwrap();
        Some(serde_json::from_slice(frame.data_ref().unwrap()).unwrap())
    }

    /// The next event's type and the object's name.
    pub(crate) async fn seen(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (word(&event["type"]), word(&event["object"]["metadata"]["name"]))
    }
}

pub(crate) const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

/// A Deployment that is complete.
pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "shop/web:1",
                    "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

pub(crate) fn config(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}
