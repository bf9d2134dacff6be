//! The clients that people use: kube's in the same process, and plain HTTP over a socket.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::bench::{config, start};

#[tokio::test(start_paused = true)]
async fn kubes_client_applies_lists_and_watches_without_a_socket() {
    use futures::StreamExt as _;
    let bench = start();
    let client = kube::Client::new(bench.sandbox.service(), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let parameters = PatchParams::apply("tidegate");
    let object = config("a", &json!({"k": "v"}));
    maps.patch("a", &parameters, &Patch::Apply(&object)).await.unwrap();
    let found = maps.list(&ListParams::default().fields("metadata.name=a")).await.unwrap();
    assert_eq!(found.items.len(), 1);
    let stream = watcher(maps.clone(), watcher::Config::default().fields("metadata.name=b"))
        .applied_objects();
    let mut stream = std::pin::pin!(stream);
    let made = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        maps.patch("b", &parameters, &Patch::Apply(&config("b", &json!({})))).await.unwrap();
    });
    let seen = stream.next().await.unwrap().unwrap();
    assert_eq!(seen.metadata.name.as_deref(), Some("b"));
    made.await.unwrap();
}

#[tokio::test]
async fn a_socket_serves_what_the_kubeconfig_names() {
    let bench = start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kubeconfig = bench.sandbox.kubeconfig(address);
    assert!(kubeconfig.contains(&format!("server: http://{address}")));
    assert!(kubeconfig.contains("token: sandbox-admin"));
    let task = bench.sandbox.serve(listener);
    let ask = async |token: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /api/v1/nodes HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(ask("sandbox-admin").await.starts_with("HTTP/1.1 200 OK"));
    assert!(ask("wrong").await.starts_with("HTTP/1.1 401"));
    task.abort();
}
