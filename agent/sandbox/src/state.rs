//! The file that keeps a sandbox's objects between runs.

use std::path::Path;

use serde_json::{Value, json};

use crate::store::Store;

/// Why the file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("failed to reach the file")]
    File(#[from] std::io::Error),
    /// The content is not what `save` writes.
    #[error("failed to read the content")]
    Content(#[from] serde_json::Error),
}

/// Fills the store from the file; an absent file is an empty store.
pub(crate) fn load(path: &Path, store: &mut Store) -> Result<(), Error> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut kept: Value = serde_json::from_slice(&bytes)?;
    let revision = kept.get("revision").and_then(Value::as_u64).unwrap_or_default();
    if let Some(Value::Array(objects)) = kept.get_mut("objects").map(Value::take) {
        store.restore(objects, revision);
    }
    Ok(())
}

/// Writes the store beside the file and moves it into place, so that a killed process leaves the old or the new state.
pub(crate) fn save(path: &Path, store: &Store) -> Result<(), Error> {
    let objects: Vec<&Value> = store.all().map(|(_, object)| &**object).collect();
    let kept = json!({"revision": store.revision(), "objects": objects});
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec(&kept)?)?;
    std::fs::rename(&beside, path)?;
    Ok(())
}
