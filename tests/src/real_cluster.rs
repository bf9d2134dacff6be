//! A real control plane as a test's companion: `tests/real-cluster` starts it, a fake kubelet makes its pods run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Once, OnceLock};
use std::thread::JoinHandle;

use base64::Engine as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{kubelet, vault};

/// How many nodes a control plane gets, unless a test asks for another number.
pub const NODES: usize = 5;

/// What is left out without the binaries, and how to get them.
pub const LEFT_OUT: &str = "left out: everything that needs a real kube-apiserver, since there are no \
     binaries; get them once with `tests/real-cluster install`, or set KUBEBUILDER_ASSETS";

/// A kube-apiserver with etcd and, where there is one, a kube-controller-manager. Dropping it stops it; so does the end
/// of the process, however it comes.
#[derive(Debug)]
pub struct RealCluster {
    folder: PathBuf,
    script: Child,
    /// The script stops everything when this closes.
    input: Option<ChildStdin>,
    kubelet: Option<KubeletThread>,
}

/// A thread of its own, so that a kubelet outlives the test (and its runtime) that happened to start the cluster.
#[derive(Debug)]
struct KubeletThread {
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RealCluster {
    /// A fresh control plane with [`NODES`] nodes; `None` when there are no binaries, which is then said once on the
    /// standard error.
    ///
    /// # Panics
    /// When there are binaries and they do not start.
    pub fn start() -> Option<Self> {
        Self::start_with(NODES)
    }

    /// The same where a controller manager runs, too; else `None`.
    pub fn with_controllers() -> Option<Self> {
        Self::start().filter(Self::has_controllers)
    }

    /// The same with another number of nodes. With none nothing binds pods or runs them.
    pub fn start_with(nodes: usize) -> Option<Self> {
        binaries()?;
        let mut script = Command::new(script_path())
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("failed to run tests/real-cluster");
        let input = script.stdin.take();
        let output = script.stdout.take().expect("the output was asked for");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("failed to read from tests/real-cluster");
        let folder = line.trim_end().strip_prefix("ready ").map(PathBuf::from);
        let folder = folder.expect("tests/real-cluster did not become ready; it says why above");
        let mut cluster = Self { folder, script, input, kubelet: None };
        if nodes > 0 && cluster.has_controllers() {
            cluster.kubelet = Some(KubeletThread::start(cluster.kubeconfig(), nodes));
        }
        Some(cluster)
    }

    /// The one control plane that the tests of a binary share; they keep apart by their namespaces.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<RealCluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A kubeconfig for an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A kubeconfig for another administrator, whose requests are written down.
    pub fn watched_kubeconfig(&self) -> PathBuf {
        self.folder.join("watched.kubeconfig")
    }

    /// What the user of [`Self::watched_kubeconfig`] has asked so far but for open watches, as `VERB URI`.
    ///
    /// # Panics
    /// When the API server keeps no record.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("audit.log")).expect("an audit log");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let text = |line: &Value, key: &str| {
            line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        lines
            .map(|line| (text(&line, "verb"), text(&line, "requestURI")))
            .filter(|(verb, _)| verb != "watch")
            .map(|(verb, uri)| format!("{verb} {uri}"))
            .collect()
    }

    /// Whether a controller manager runs; envtest's binaries come without one.
    pub fn has_controllers(&self) -> bool {
        self.folder.join("kube-controller-manager.log").exists()
    }

    /// The authority of the control plane's certificates, in base64, and the certificate that it has for loopback with its
    /// key: whoever serves it something has these too.
    pub fn certificates(&self) -> (String, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let file = |name: &str| self.folder.join("certs").join(name);
        let authority = std::fs::read(file("ca.crt")).expect("an authority");
        let certificates = CertificateDer::pem_file_iter(file("server.crt")).expect("certificates");
        let certificates = certificates.collect::<Result<_, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("a key");
        (base64::engine::general_purpose::STANDARD.encode(authority), certificates, key)
    }

    /// A client for an administrator. It belongs to the runtime it is made in.
    pub async fn client(&self) -> Client {
        client(&self.kubeconfig()).await
    }
}

impl Drop for RealCluster {
    fn drop(&mut self) {
        drop(self.kubelet.take());
        drop(self.input.take());
        if let Err(error) = self.script.wait() {
            say(&format!("failed to wait for tests/real-cluster: {error}"));
        }
    }
}

impl KubeletThread {
    fn start(kubeconfig: PathBuf, nodes: usize) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("failed to make a runtime").block_on(async {
                let client = client(&kubeconfig).await;
                tokio::select! {
                    _ = stopped => {}
                    () = vault::fill(client.clone()) => say("the vault ended"),
                    ended = kubelet::run(client, nodes, ready) => {
                        say(&format!("the fake kubelet ended: {ended:?}"));
                    }
                }
            });
        };
        let thread = std::thread::Builder::new().name("kubelet".to_owned()).spawn(run);
        let thread = thread.expect("failed to start a thread");
        // A test may count the nodes at once.
        if is_ready.recv().is_err() {
            say("the fake kubelet ended before its nodes were there");
        }
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for KubeletThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            say("the fake kubelet panicked");
        }
    }
}

/// The folder with the binaries; says once what is left out without them.
pub fn binaries() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    folder("where", &SAID, LEFT_OUT)
}

/// The folder that the script prints for a command; without one says so, once.
fn folder(command: &str, said: &'static Once, left_out: &str) -> Option<PathBuf> {
    let output = Command::new(script_path()).arg(command).stderr(Stdio::null()).output();
    let output = output.expect("failed to run tests/real-cluster");
    if output.status.success() {
        let folder = String::from_utf8(output.stdout).expect("a path in UTF-8");
        return Some(PathBuf::from(folder.trim_end()));
    }
    said.call_once(|| say(left_out));
    None
}

/// Every kubectl that there is: the machine's, and the one beside the control plane's binaries.
pub fn kubectls() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_machine = std::env::split_paths(&path)
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.exists());
    let beside = binaries().map(|folder| folder.join("kubectl")).filter(|file| file.exists());
    of_machine.into_iter().chain(beside).collect()
}

/// The folder with manifests from Kubernetes' own source, laid out as there; says once what is left out without them.
pub fn manifests() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    folder(
        "manifests",
        &SAID,
        "left out: what needs manifests of Kubernetes' own source; get them with `tests/real-cluster install`",
    )
}

/// The first of [`kubectls`].
pub fn kubectl() -> Option<PathBuf> {
    kubectls().into_iter().next()
}

/// A client from a kubeconfig's current context.
pub async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).expect("failed to read the kubeconfig");
    let options = KubeConfigOptions::default();
    let mut config =
        Config::from_custom_kubeconfig(file, &options).await.expect("a usable kubeconfig");
    // A test is to see a refusal, and not to wait for minutes until it is none.
    config.default_retry = false;
    Client::try_from(config).expect("failed to make a client")
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("real-cluster")
}

/// Past the test runner's capture, so that it is seen when all tests pass.
pub(crate) fn say(text: &str) {
    // Nobody is left to be told when the standard error is closed.
    drop(writeln!(std::io::stderr(), "{text}"));
}
