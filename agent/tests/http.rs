//! The status endpoint on a real agent: a new site, a simulated cluster, and requests over a socket.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use hmac::Mac as _;
use serde_json::{Value, json};
use tidegate::agent::{Agent, Images, Parts, RETENTION};
use tidegate::client::{Client, Error};
use tidegate::clock::Clock;
use tidegate::execute::Checks;
use tidegate::http::{self, Options};
use tidegate::journal::Journal;
use tidegate::sandboxes::Sandboxes;
use tidegate::secret::Secret;
use tidegate::source::{Source, SourceOptions, commit_all, init_repository};
use tidegate::wake::Wake;
use tidegate_core::snapshot::Identity;
use tidegate_schema::finding::Lang;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "../../tests/src/canary.rs"]
#[expect(unreachable_pub, reason = "the tests across crates have it in their library")]
mod canary;
#[path = "shared/close.rs"]
mod close;
#[path = "shared/relay.rs"]
mod relay;

use close::close;
use relay::Relay;

const CONTROL: &str = "control-canary-7f3a91";
const HOOK: &str = "hook-canary-7f3a91";

/// An agent on a new site.
struct Stage {
    folder: tempfile::TempDir,
    site: std::path::PathBuf,
    address: SocketAddr,
    relay: Relay,
    handle: tidegate::handle::Handle,
    agent: tokio::task::JoinHandle<Result<(), tidegate::agent::Error>>,
}

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn commit(site: &Path) -> String {
    let by = Identity::new("Wang Wei", "wang@example.com");
    commit_all(site, "change", &by, jiff::Timestamp::now()).unwrap()
}

impl Stage {
    async fn set(token: Option<&str>) -> Self {
        Self::set_at(token, |_| {}).await
    }

    /// With more in the site's first revision than `init` lays out.
    async fn set_at(token: Option<&str>, more: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(folder.path())
            .args(["init", "site"])
            .output();
        assert!(canary::searched(made.unwrap()).status.success());
        let site = folder.path().join("site");
        init_repository(&site).unwrap();
        more(&site);
        commit(&site);
        let data = folder.path().join("data");
        let options = SourceOptions::new(site.display().to_string(), data.join("mirror.git"));
        let parts = Parts {
            source: Source::open(options).unwrap(),
            data: data.clone(),
            journal: Journal::open(&data).await.unwrap(),
            dns: None,
            clock: Clock::system(),
            interval: Duration::from_secs(1),
            connector: Sandboxes::default().connector(),
            checks: Checks::Asked,
            images: Images::off(),
            retention: RETENTION,
        };
        let (agent, handle) = Agent::open(parts).await.unwrap();
        let options = Options {
            token: token.map(secret),
            hook: Some(secret(HOOK)),
            ..Options::loopback(secret(CONTROL))
        };
        let (address, _) = http::serve(handle.clone(), options).await.unwrap();
        let relay = Relay::start(address).await;
        let agent = tokio::spawn(agent.run());
        Self { folder, site, address: relay.address, relay, handle, agent }
    }

    fn client(&self, token: Option<&str>) -> Client {
        Client::new(&format!("http://{}", self.address), token.map(secret), Lang::En).unwrap()
    }

    /// Waits until the site is in a condition.
    async fn until(&self, condition: &str) -> Value {
        let client = self.client(Some(CONTROL));
        let start = Instant::now();
        loop {
            let status: Value = client.get("/api/v1/status").await.unwrap();
            if status["condition"] == condition {
                return status;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "never {condition}: {status:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A request as it is; gives the answer's first line and all of it.
    async fn raw(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.lines().next().unwrap_or_default().to_owned(), answer)
    }

    /// A private key as a file.
    fn key(&self, pair: &tidegate::signature::KeyPair) -> String {
        let path = self.folder.path().join("key");
        std::fs::write(&path, pair.private.expose()).unwrap();
        path.display().to_string()
    }

    /// Types a command to this agent; gives its exit code, and what it said.
    async fn typed(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let done = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .args(["--lang", "en", "--agent", &format!("http://{}", self.address)])
            .env("TIDEGATE_TOKEN", CONTROL)
            .output();
        let done = canary::searched(done.await.unwrap());
        let said =
            String::from_utf8(done.stderr).unwrap() + &String::from_utf8(done.stdout).unwrap();
        (done.status.code(), said)
    }

    async fn end(self) {
        self.handle.wake(Wake::Shutdown);
        self.agent.await.unwrap().unwrap();
        self.relay.assert_none();
        canary::assert_none_kept(&[self.folder.path()]);
    }
}

fn code(error: &Error) -> String {
    let Error::Refused(findings) = error else { panic!("{error:?}") };
    findings[0].code.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_can_be_followed_and_steered() {
    let stage = Stage::set(None).await;
    let client = stage.client(Some(CONTROL));
    let status = stage.until("settled").await;
    assert_eq!(status["site"], "site");
    assert_eq!(client.text("/healthz").await.unwrap(), "ok\n");
    assert_eq!(client.text("/readyz").await.unwrap(), "ready\n");
    assert!(
        client
            .text("/metrics")
            .await
            .unwrap()
            .contains("tidegate_condition{condition=\"settled\"} 1")
    );

    let releases: Value = client.get("/api/v1/releases").await.unwrap();
    assert_eq!(releases[0]["phase"], "done");
    assert_eq!(releases[0]["kind"], "release");
    assert!(!releases[0]["tasks"].as_array().unwrap().is_empty());
    let count = async |query: &str| {
        let path = format!("/api/v1/releases?{query}");
        client.get::<Vec<Value>>(&path).await.map(|found| found.len())
    };
    let product = releases[0]["products"][0].as_str().unwrap();
    let narrow = format!("product={product}&phase=done&kind=release&since=2020-01-01T00:00:00Z");
    assert_eq!(count(&narrow).await.unwrap(), 1);
    assert_eq!(count("phase=done&lang=zh").await.unwrap(), 1);
    for none in ["product=nobody", "phase=rolledBack", "kind=test", "until=2020-01-01T00:00:00Z"] {
        assert_eq!(count(none).await.unwrap(), 0, "{none}");
    }
    for wrong in ["phase=perfect", "since=yesterday", "limit=all", "phse=done"] {
        assert_eq!(code(&count(wrong).await.unwrap_err()), "HTTP/QUERY", "{wrong}");
    }
    let delivery: Value = client.get("/api/v1/delivery?kind=release").await.unwrap();
    assert_eq!(delivery["sums"]["deployments"], 1);
    assert_eq!(delivery["releases"][0]["isFailedChange"], false);
    assert!(delivery["sums"]["leadSeconds"].is_number(), "{delivery:#}");
    let none: Value = client.get("/api/v1/delivery?product=nobody").await.unwrap();
    assert!(none["sums"]["changeFailureRate"].is_null(), "{none:#}");
    let id = releases[0]["id"].as_str().unwrap();
    let release: Value = client.get(&format!("/api/v1/releases/{id}")).await.unwrap();
    assert!(release["events"].as_array().unwrap().len() > 5);
    let step = &release["timeline"]["steps"][0];
    assert_eq!(step["outcome"], "done", "{step:#}");
    assert_eq!(release["isThinned"], false);
    let plan = releases[0]["plan"].as_str().unwrap();
    let short = &plan["sha256:".len()..][..12];
    let shown: Value = client.get(&format!("/api/v1/plans/{short}")).await.unwrap();
    assert_eq!(shown["id"], plan);
    for format in ["text", "markdown"] {
        let text = client.text(&format!("/api/v1/plans/{plan}?format={format}")).await.unwrap();
        assert!(text.contains("hello"), "{text}");
    }
    let baseline: Value = client.get("/api/v1/baseline").await.unwrap();
    assert_eq!(baseline["products"]["hello"]["version"], "1.0.0");
    let inventory: Value = client.get("/api/v1/inventory").await.unwrap();
    assert!(inventory.as_array().unwrap().len() >= 4);
    assert_eq!(client.get::<Value>("/api/v1/drift").await.unwrap(), json!([]));

    // Frozen: a change waits, and says why; unfrozen it goes on.
    let ask = json!({"by": "li-na", "reason": "quarter end"});
    client.post("/api/v1/freeze", &ask).await.unwrap();
    let path = stage.site.join("solutions/platform.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("replicas: 4", "replicas: 5")).unwrap();
    commit(&stage.site);
    client.post("/api/v1/wake", &json!({})).await.unwrap();
    let status = stage.until("waiting").await;
    assert_eq!(status["plan"]["waits"][0]["code"], "AGENT/FROZEN");
    let current: Value = client.get("/api/v1/plans/current").await.unwrap();
    assert_eq!(current["id"], status["plan"]["id"]);
    client.post("/api/v1/unfreeze", &json!({"by": "li-na"})).await.unwrap();
    stage.until("settled").await;
    let again = client.post("/api/v1/unfreeze", &json!({"by": "li-na"})).await.unwrap_err();
    assert_eq!(code(&again), "AGENT/NOT_FROZEN");
    let command = json!({"by": "li-na", "command": "pause", "reason": "lunch"});
    let none = client.post("/api/v1/releases/current/commands", &command).await.unwrap_err();
    assert_eq!(code(&none), "RELEASE/NONE_UNDER_WAY");
    stage.end().await;
}

/// Whoever approves what is not the plan any more is told at once, not when somebody asks why nothing happens.
#[tokio::test(flavor = "multi_thread")]
async fn who_approves_another_plan_than_the_current_one_is_told() {
    let pair = tidegate::signature::generate_key("li-na").unwrap();
    let persons = format!(
        "apiVersion: tidegate.dev/v1\nkind: Person\nmetadata: {{name: li-na}}\nspec: {{emails: [li@na.example], keys: ['{}']}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: Group\nmetadata: {{name: it-ops}}\nspec: {{members: [li-na]}}\n",
        pair.public.trim()
    );
    let policy = "apiVersion: tidegate.dev/v1\nkind: ApprovalPolicy\nmetadata: {name: everybody}\n\
                  spec: {rules: [{quorum: [{group: it-ops, count: 1}]}]}\n";
    let stage = Stage::set_at(None, |site| {
        std::fs::write(site.join("iam/persons.yaml"), persons).unwrap();
        std::fs::write(site.join("policies/approval.yaml"), policy).unwrap();
    })
    .await;
    let status = stage.until("waiting").await;
    let key = stage.key(&pair);
    let other = format!("sha256:{}", "0".repeat(64));
    let current = status["plan"]["id"].as_str().unwrap();
    for (plan, is_current) in [(other.as_str(), false), (current, true)] {
        let (code, said) = stage.typed(&["approve", plan, "--as", "li-na", "--key", &key]).await;
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("APPROVAL/STALE"), !is_current, "{said}");
    }
    stage.until("settled").await;
    let client = stage.client(None);
    let none = client.get::<Value>("/api/v1/plans/current").await.unwrap_err();
    assert_eq!(code(&none), "HTTP/NO_PLAN");
    stage.end().await;
}

/// What crashes, with more in the site: its release fails, and waits for a person.
async fn failing(more: impl FnOnce(&Path)) -> (Stage, String) {
    let stage = Stage::set_at(None, |site| {
        let path = site.join("catalog/hello/1.0.0/version.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("hello:1.0.0", "hello:1.0.0-crash")).unwrap();
        more(site);
    })
    .await;
    let status = stage.until("needsPerson").await;
    let step = status["release"]["failures"][0]["step"].as_str().unwrap().to_owned();
    (stage, step)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_persons_only_one_of_them_skips_by_a_signature() {
    let pair = tidegate::signature::generate_key("li-na").unwrap();
    let persons = format!(
        "apiVersion: tidegate.dev/v1\nkind: Person\nmetadata: {{name: li-na}}\nspec: {{emails: [li@na.example], keys: ['{}']}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: Role\nmetadata: {{name: waives}}\nspec: {{permissions: [delivery.skip]}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: Grant\nmetadata: {{name: li-na}}\nspec: {{subject: {{person: li-na}}, role: waives}}\n",
        pair.public.trim()
    );
    let (stage, step) =
        failing(|site| std::fs::write(site.join("iam/persons.yaml"), persons).unwrap()).await;
    let client = stage.client(Some(CONTROL));
    let skip = json!({"by": "li-na", "command": "skip", "step": step, "reason": "INC-7"});
    let refused = client.post("/api/v1/releases/current/commands", &skip).await.unwrap_err();
    assert_eq!(code(&refused), "RELEASE/SKIP_UNSIGNED");
    let all = json!({"by": "li-na", "command": "skip", "reason": "INC-7"});
    let refused = client.post("/api/v1/releases/r1/commands", &all).await.unwrap_err();
    assert_eq!(code(&refused), "RELEASE/SKIP_UNSIGNED");

    let key = stage.key(&pair);
    let signed = ["--reason", "INC-7", "--as", "li-na", "--key", &key];
    let (code, said) = stage.typed(&[&["releases", "skip"], &signed[..]].concat()).await;
    assert!(code != Some(0) && said.contains("STEP"), "one waives what one names: {said}");
    let of = |what: &str| format!("r1/{what}");
    let (other, own) = (of("all/main/hello/nobody"), of(&step));
    let (_, said) = stage.typed(&[&["approve", "--skip", &other], &signed[..]].concat()).await;
    assert!(said.contains("RELEASE/NO_SUCH_PART"), "{said}");
    let blank = ["approve", "--skip", &own, "--reason", " ", "--as", "li-na", "--key", &key];
    let (_, said) = stage.typed(&blank).await;
    assert!(said.contains("APPROVAL/WAIVER_WITHOUT_REASON"), "{said}");
    let (code, said) = stage.typed(&[&["releases", "skip", &step], &signed[..]].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    stage.until("settled").await;
    let shown: Value = client.get("/api/v1/releases/r1").await.unwrap();
    let events = shown["events"].as_array().unwrap();
    let skipped = events.iter().find(|it| it["event"]["type"] == "skipped").unwrap();
    assert_eq!(
        (&skipped["event"]["by"], &skipped["event"]["reason"]),
        (&json!("li-na"), &json!("INC-7"))
    );
    assert!(skipped["event"]["approval"].is_string(), "{skipped:#}");
    let (_, said) = stage.typed(&[&["approve", "--skip", &own], &signed[..]].concat()).await;
    assert!(said.contains("RELEASE/NONE_UNDER_WAY"), "{said}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_nobody_who_could_sign_whoever_has_the_token_skips() {
    let (stage, step) = failing(|_| {}).await;
    let (code, said) =
        stage.typed(&["releases", "skip", &step, "--reason", "INC-7", "--as", "li-na"]).await;
    assert_eq!(code, Some(0), "{said}");
    stage.until("settled").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_shows_a_token_changes_something() {
    let stage = Stage::set(None).await;
    let stranger = stage.client(None);
    // Reading on loopback is open; changing is not.
    stranger.get::<Value>("/status").await.unwrap();
    let refused = stranger.post("/api/v1/wake", &json!({})).await.unwrap_err();
    assert_eq!(code(&refused), "HTTP/NO_TOKEN");
    let wrong = stage.client(Some("guess")).post("/api/v1/wake", &json!({})).await.unwrap_err();
    assert_eq!(code(&wrong), "HTTP/TOKEN");
    stage.client(Some(CONTROL)).post("/api/v1/wake", &json!({})).await.unwrap();
    // A page whose name somebody points at us.
    let (line, _) =
        stage.raw("GET /status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(line, "HTTP/1.1 421 Misdirected Request");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_everything_but_health_needs_it() {
    let stage = Stage::set(Some(&canary::secret("reader"))).await;
    let stranger = stage.client(None);
    assert_eq!(stranger.text("/healthz").await.unwrap(), "ok\n");
    for path in ["/status", "/metrics", "/openapi.json", "/api/v1/releases", "/api/v1/events"] {
        assert_eq!(
            code(&stranger.get::<Value>(path).await.unwrap_err()),
            "HTTP/NO_TOKEN",
            "{path}"
        );
    }
    stage.client(Some(&canary::secret("reader"))).get::<Value>("/status").await.unwrap();
    let elsewhere =
        Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::loopback(secret(CONTROL)) };
    let refused = http::serve(stage.handle.clone(), elsewhere).await;
    assert!(matches!(refused, Err(http::Error::NeedsToken(_))));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_wakes_only_with_the_shared_secret() {
    let stage = Stage::set(None).await;
    stage.until("settled").await;
    let body = r#"{"ref":"refs/heads/main"}"#;
    let hook = |token: &str| {
        format!(
            "POST /hooks/git HTTP/1.1\r\nHost: localhost\r\nX-Gitlab-Token: {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let (line, answer) = stage.raw(&hook(HOOK)).await;
    assert_eq!(line, "HTTP/1.1 200 OK");
    assert!(answer.contains("\"woken\": true"), "{answer}");
    let (line, _) = stage.raw(&hook("guess")).await;
    assert_eq!(line, "HTTP/1.1 401 Unauthorized");
    // GitHub signs the body instead of showing the secret.
    let signed = |secret: &str| {
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let mut digits = String::new();
        for byte in mac.finalize().into_bytes() {
            write!(digits, "{byte:02x}").unwrap();
        }
        hook("").replace("X-Gitlab-Token: ", &format!("X-Hub-Signature-256: sha256={digits}"))
    };
    let (line, answer) = stage.raw(&signed(HOOK)).await;
    assert_eq!(line, "HTTP/1.1 200 OK");
    assert!(answer.contains("\"woken\": true"), "{answer}");
    let (line, _) = stage.raw(&signed("guess")).await;
    assert_eq!(line, "HTTP/1.1 401 Unauthorized");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_says_so_in_the_asked_language() {
    let stage = Stage::set(None).await;
    let client = stage.client(Some(CONTROL));
    for path in ["/nope", "/api/v1/plans/abcdef", "/api/v1/releases/r99"] {
        assert_eq!(code(&client.get::<Value>(path).await.unwrap_err()), "HTTP/NOT_FOUND", "{path}");
    }
    let bad = client.post("/api/v1/freeze", &json!({"reason": 1})).await.unwrap_err();
    assert_eq!(code(&bad), "HTTP/BODY");
    let (_, answer) = stage
        .raw("GET /nope?lang=zh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.contains("没有"), "{answer}");
    stage.end().await;
}

/// An answer as HTTP/1.1 wrote it: status, headers in lower case, body.
struct Raw {
    status: u16,
    headers: String,
    body: String,
}

impl Stage {
    async fn request(&self, method: &str, path: &str, body: Option<&str>) -> Raw {
        let body = body.unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {CONTROL}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let (line, answer) = self.raw(&request).await;
        let (headers, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        Raw { status, headers: headers.to_ascii_lowercase(), body: body.to_owned() }
    }
}

/// A schema of the document with everything that it refers to, in which no field may be missing.
fn closed(schema: &Value, components: &Value) -> jsonschema::Validator {
    let mut whole = json!({"allOf": [schema], "components": components});
    close(&mut whole);
    jsonschema::validator_for(&whole).unwrap()
}

/// A product that runs a task.
const IMPORT: &str = "\
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: import}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {name: import}
spec: {version: 1.0.0, apps: [{name: import, kind: task, image: \"import:1\"}]}
---
apiVersion: tidegate.dev/v1
kind: Solution
metadata: {name: import}
spec: {products: [{product: import, version: 1.0.0, firstInstallation: with}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_what_the_routes_do() {
    let stage =
        Stage::set_at(None, |site| std::fs::write(site.join("import.yaml"), IMPORT).unwrap()).await;
    stage.until("settled").await;
    let document: Value = stage.client(None).get("/openapi.json").await.unwrap();
    assert_eq!(document, http::openapi());
    let plan = stage.until("settled").await["releases"][0]["plan"].as_str().unwrap().to_owned();
    for (path, item) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{id}", "r1").replace("{digest}", &plan);
        let concrete = concrete.replace("{number}", "1");
        // The methods of the route, as the router knows them.
        let other = stage.request("DELETE", &concrete, None).await;
        assert_eq!(other.status, 405, "{path}: {}", other.body);
        let allowed = other.headers.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap();
        let allowed: Vec<&str> = allowed.split(',').filter(|it| *it != "head").collect();
        let documented: Vec<&String> = item.as_object().unwrap().keys().collect();
        assert_eq!(allowed, documented, "{path}");
        let Some(operation) = item.get("get") else { continue };
        let content = operation["responses"]["200"]["content"].as_object().unwrap();
        if content.contains_key("text/event-stream") {
            continue;
        }
        let answer = stage.request("GET", &concrete, None).await;
        if path == "/api/v1/plans/current" {
            // A settled site has no plan: what is refused is described as well.
            assert_eq!(answer.status, 404);
            let refusal = &document["components"]["schemas"]["Refusal"];
            let told: Value = serde_json::from_str(&answer.body).unwrap();
            assert!(closed(refusal, &document["components"]).is_valid(&told), "{told:#}");
            continue;
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let media =
            answer.headers.lines().find_map(|it| it.strip_prefix("content-type: ")).unwrap();
        let media = media.split(';').next().unwrap();
        let schema = &content.get(media).unwrap_or_else(|| panic!("{path}: {media}"))["schema"];
        if media == "application/json" {
            let schema = closed(schema, &document["components"]);
            let told: Value = serde_json::from_str(&answer.body).unwrap();
            let wrong: Vec<String> = schema.iter_errors(&told).map(|it| it.to_string()).collect();
            assert!(wrong.is_empty(), "{path}: {wrong:#?}\n{told:#}");
        }
    }
    stage.end().await;
}

/// What is wrong with a page of metrics, by the rules of the text format (exposition format 0.0.4) and of naming.
fn wrong_metrics(page: &str) -> Vec<String> {
    let (mut wrong, mut types) = (Vec::new(), std::collections::BTreeMap::new());
    let (mut seen, mut current) = (std::collections::BTreeSet::new(), String::new());
    let is_name = |name: &str| {
        name.starts_with(|it: char| it.is_ascii_lowercase())
            && name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
    };
    if !page.ends_with('\n') {
        wrong.push("the last line does not end".to_owned());
    }
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap_or((help, ""));
            name.clone_into(&mut current);
            if text.is_empty() || types.contains_key(name) {
                wrong.push(line.to_owned());
            }
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or((kind, ""));
            let is_right = name == current
                && match kind {
                    "counter" => name.ends_with("_total"),
                    "gauge" => !name.ends_with("_total"),
                    _ => false,
                };
            if !is_right || types.insert(name.to_owned(), kind.to_owned()).is_some() {
                wrong.push(line.to_owned());
            }
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}');
            let pairs = labels.unwrap_or_default().split(',').filter(|it| !it.is_empty());
            let are_pairs = pairs.map(|it| it.split_once('=')).all(|pair| {
                pair.is_some_and(|(name, value)| {
                    is_name(name)
                        && value.len() > 1
                        && value.starts_with('"')
                        && value.ends_with('"')
                })
            });
            let is_right = name == current
                && types.contains_key(name)
                && is_name(name)
                && labels.is_some()
                && are_pairs
                && value.parse::<f64>().is_ok()
                && seen.insert(series.to_owned());
            if !is_right {
                wrong.push(line.to_owned());
            }
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_as_prometheus_reads_them() {
    let stage = Stage::set(None).await;
    stage.until("settled").await;
    let page = stage.client(None).text("/metrics").await.unwrap();
    assert_eq!(wrong_metrics(&page), Vec::<String>::new(), "{page}");
    for name in ["tidegate_build_info", "tidegate_condition", "tidegate_findings", "tidegate_drift"]
    {
        assert!(page.contains(&format!("# TYPE {name} ")), "{name} is not there");
    }
    stage.end().await;
    // The judge itself can judge.
    for bad in
        ["a 1\n", "# HELP a b\n# TYPE a gauge\na{x=1} 1\n", "# HELP a b\n# TYPE a counter\na 1\n"]
    {
        assert!(!wrong_metrics(bad).is_empty(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_told_as_it_happens() {
    let stage = Stage::set(None).await;
    stage.until("settled").await;
    let mut listener = TcpStream::connect(stage.address).await.unwrap();
    let ask = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    listener.write_all(ask.as_bytes()).await.unwrap();
    let mut told = String::new();
    let mut piece = [0_u8; 4096];
    // The head comes first, and only then what is recorded from now on.
    let read = listener.read(&mut piece).await.unwrap();
    told += &String::from_utf8_lossy(&piece[..read]);
    assert!(told.to_ascii_lowercase().contains("content-type: text/event-stream"), "{told}");
    let path = stage.site.join("solutions/platform.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("replicas: 4", "replicas: 5")).unwrap();
    commit(&stage.site);
    stage.handle.wake(Wake::Pushed);
    let heard = tokio::time::timeout(Duration::from_mins(1), async {
        while !told.contains("\"type\":\"done\"") {
            let read = listener.read(&mut piece).await.unwrap();
            assert!(read > 0, "the stream ended: {told}");
            told += &String::from_utf8_lossy(&piece[..read]);
        }
    });
    assert!(heard.await.is_ok(), "{told}");
    assert!(told.contains("event: recorded") && told.contains("id: r2/1"), "{told}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_or_no_json_is_refused_with_its_status() {
    let stage = Stage::set(None).await;
    let large = format!("{{\"by\": \"{}\"}}", "x".repeat((1 << 20) + 4096));
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let request = format!(
        "POST /api/v1/freeze HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {CONTROL}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{large}",
        large.len()
    );
    // The answer may come before all of it is sent; then the connection is closed under our hands.
    let (mut reads, mut writes) = stream.split();
    let mut answer = [0_u8; 64];
    let (read, _cut) = tokio::join!(reads.read(&mut answer), writes.write_all(request.as_bytes()));
    let read = read.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let refused = stage.request("POST", "/api/v1/freeze", Some("{\"by\":")).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.contains("HTTP/BODY"), "{}", refused.body);
    let status = stage.request("GET", "/healthz", None).await;
    assert_eq!(status.status, 200);
    stage.end().await;
}

#[test]
fn every_route_is_in_the_openapi_document() {
    // There is one place that adds routes, and it describes them.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let count = std::fs::read_to_string(&path).unwrap().matches(".route(").count();
        let wanted = if path.ends_with("openapi.rs") { 2 } else { 0 };
        assert_eq!(count, wanted, "{}", path.display());
    }
    let document = http::openapi();
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/status", "/hooks/git", "/api/v1/plans/{digest}", "/api/v1/releases/{id}/commands"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
            let content = &operation["responses"]["200"]["content"];
            assert!(!content.as_object().unwrap().is_empty(), "{method} {path}");
            let named = path.matches('{').count();
            let given = operation["parameters"].as_array().unwrap();
            assert_eq!(given.iter().filter(|it| it["in"] == "path").count(), named, "{path}");
        }
    }
}
