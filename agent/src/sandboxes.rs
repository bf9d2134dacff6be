//! Simulated clusters inside this process, for clusters whose documents say `access: sandbox`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tidegate_sandbox::{Options, Sandbox};
use tidegate_schema::site::Access;

use crate::agent::Connector;
use crate::cluster::{Client, client_of_kubeconfig, client_of_sandbox};

/// Simulated clusters by name, started when they are first asked for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sandboxes {
    /// Where their states are kept; nowhere when absent.
    folder: Option<PathBuf>,
    is_served: bool,
    running: Arc<Mutex<BTreeMap<String, Sandbox>>>,
    _temporary: Option<Arc<TempDir>>,
}

impl Sandboxes {
    /// Keeps `sandbox-NAME.json` in a folder, and serves each cluster on a free port of loopback for kubectl, with
    /// `sandbox-NAME.kubeconfig` beside it.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), is_served: true, ..Self::default() }
    }

    /// Starts from the states in a folder, and writes nothing there: for looking.
    pub fn copied(folder: Option<&Path>) -> Self {
        let Some(folder) = folder else { return Self::default() };
        let Ok(temporary) = tempfile::tempdir() else { return Self::default() };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_state = name.to_str().is_some_and(|name| {
                name.starts_with("sandbox-") && entry.path().extension() == Some("json".as_ref())
            });
            if is_state
                && let Err(error) = std::fs::copy(entry.path(), temporary.path().join(&name))
            {
                tracing::warn!(%error, "the state of a sandbox could not be read");
            }
        }
        let folder = Some(temporary.path().to_owned());
        Self { folder, _temporary: Some(Arc::new(temporary)), ..Self::default() }
    }

    /// A client of the cluster that an agent of this folder serves just now; `None` when it serves none.
    pub async fn served(name: &str, folder: Option<&Path>) -> Option<Client> {
        let path = folder?.join(format!("sandbox-{name}.kubeconfig"));
        let client = client_of_kubeconfig(&path).await?;
        client.apiserver_version().await.is_ok().then_some(client)
    }

    /// For [`crate::agent::Parts`]. Its clients must be made on a tokio runtime.
    pub fn connector(&self) -> Connector {
        let own = self.clone();
        Arc::new(move |name, access| own.client(name, access))
    }

    fn client(&self, name: &str, access: &Access) -> Option<Client> {
        let Access::Sandbox(wanted) = access else { return None };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sandbox) = running.get(name) {
            return Some(client_of_sandbox(sandbox));
        }
        let state = self.folder.as_ref().map(|folder| folder.join(format!("sandbox-{name}.json")));
        let options =
            Options { name: name.to_owned(), nodes: wanted.nodes, state, ..Options::default() };
        match Sandbox::start(options) {
            Ok(sandbox) => {
                if let Some(folder) = self.folder.as_ref().filter(|_| self.is_served)
                    && let Err(error) = open(&sandbox, folder)
                {
                    tracing::warn!(cluster = name, %error, "the sandbox is not served for kubectl");
                }
                let client = client_of_sandbox(&sandbox);
                running.insert(name.to_owned(), sandbox);
                Some(client)
            }
            Err(error) => {
                tracing::error!(cluster = name, %error, "the sandbox did not start");
                None
            }
        }
    }
}

/// Whether a server of this version is simulated: what the documents say may be overridden on the command line.
pub(crate) fn is_sandbox(version: &str) -> bool {
    version.ends_with("+tidegate-sandbox")
}

/// Serves a sandbox for kubectl. The kubeconfig holds an administrator's token, so it is for its owner only.
fn open(sandbox: &Sandbox, folder: &Path) -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let kubeconfig = sandbox.kubeconfig(listener.local_addr()?);
    write_for_owner(&folder.join(format!("sandbox-{}.kubeconfig", sandbox.name())), &kubeconfig)?;
    // The task ends with the process: a sandbox has no other end here.
    drop(sandbox.serve(listener));
    Ok(())
}

/// Writes a file that only its owner may read.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn write_for_owner(path: &Path, text: &str) -> std::io::Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
