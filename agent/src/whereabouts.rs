//! Where a running agent is: `agent.json` in its data folder, by which commands find it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The file's name in the data folder.
pub const FILE: &str = "agent.json";

/// Where the agent of a data folder answers. The token in it is what protects the agent on loopback, so the file is for
/// its owner only.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Whereabouts {
    /// Address of the status endpoint, `http://127.0.0.1:7480`.
    pub url: String,
    token: String,
    /// The agent's process.
    pub pid: u32,
}

/// Why the file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {path}")]
pub struct Error {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl std::fmt::Debug for Whereabouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Whereabouts").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Whereabouts {
    /// Of this process.
    pub fn new(url: impl Into<String>, token: &Secret) -> Self {
        Self { url: url.into(), token: token.expose().to_owned(), pid: std::process::id() }
    }

    /// What changes something must show.
    pub fn token(&self) -> Option<Secret> {
        Secret::new(&self.token)
    }

    /// Reads the file; `None` when no agent has left one.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }

    /// Writes the file, whole or not at all, for its owner only.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        let new = folder.join(format!("{FILE}.new"));
        let write = || -> std::io::Result<()> {
            // A file that is left over may have other permissions.
            if let Err(error) = std::fs::remove_file(&new)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(error);
            }
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|source| Error { path: path.clone(), source })
    }

    /// Removes the file at the end. One that stays is no harm: whoever reads it finds nobody there.
    pub fn remove(folder: &Path) {
        let _left_over = std::fs::remove_file(folder.join(FILE));
    }
}

/// A new token: 32 random bytes in Base64.
pub fn new_token() -> Option<Secret> {
    use base64::Engine as _;
    use rand_core::RngCore as _;

    let mut bytes = [0_u8; 32];
    rand_core::OsRng.try_fill_bytes(&mut bytes).ok()?;
    Secret::new(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_may_read_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let token = new_token().unwrap();
        assert_ne!(token.expose(), new_token().unwrap().expose());
        let there = Whereabouts::new("http://127.0.0.1:1", &token);
        there.write(folder.path()).unwrap();
        there.write(folder.path()).unwrap();
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Whereabouts::read(folder.path()).unwrap();
        assert_eq!(read.token().unwrap().expose(), token.expose());
        assert!(!format!("{read:?}").contains(token.expose()));
        Whereabouts::remove(folder.path());
        assert!(Whereabouts::read(folder.path()).is_none());
    }
}
