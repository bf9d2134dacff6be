//! The clients that people use: kube's in the same process, and plain HTTP over a socket.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
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

/// How a command ended, by kube's client: the status's word, its exit code, and what was written.
async fn executed(
    client: &kube::Client,
    pod: &str,
) -> Result<(String, String, String), kube::Error> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let params = AttachParams::default().stdin(false).stderr(false);
    let mut process = pods.exec(pod, ["check", "--quick"], &params).await?;
    let status = process.take_status().unwrap();
    let mut output = String::new();
    process.stdout().unwrap().read_to_string(&mut output).await.unwrap();
    let status = status.await.unwrap();
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.into_iter().find_map(|cause| cause.message).unwrap_or_default();
    Ok((status.status.unwrap(), code, output))
}

#[tokio::test(start_paused = true)]
async fn commands_end_as_images_say_in_the_same_process_and_over_a_socket() {
    let bench = start();
    let inside = kube::Client::new(bench.sandbox.service(), "default");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubeconfig = bench.sandbox.kubeconfig(listener.local_addr().unwrap());
    let served = bench.sandbox.serve(listener);
    let kubeconfig = Kubeconfig::from_yaml(&kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let outside = kube::Client::try_from(config).unwrap();
    let pods: Api<Pod> = Api::default_namespaced(inside.clone());
    for (name, image) in [("good", "x:1"), ("bad", "x:check-fail"), ("none", "x:pull-fail")] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": image}]}});
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }
    let is_up = async |name: &str| {
        let pod = pods.get(name).await.unwrap();
        pod.status.and_then(|status| status.phase).as_deref() == Some("Running")
    };
    while !(is_up("good").await && is_up("bad").await) {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    for client in [&inside, &outside] {
        let ended = |of: (&str, &str, &str)| (of.0.to_owned(), of.1.to_owned(), of.2.to_owned());
        assert_eq!(executed(client, "good").await.unwrap(), ended(("Success", "", "ok\n")));
        assert_eq!(executed(client, "bad").await.unwrap(), ended(("Failure", "1", "fails\n")));
        let refused = executed(client, "none").await.unwrap_err().to_string();
        assert!(refused.contains("container not found (\"c\")"), "{refused}");
        let absent = executed(client, "nobody").await.unwrap_err().to_string();
        assert!(absent.contains("pods \"nobody\" not found"), "{absent}");
    }
    served.abort();
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
