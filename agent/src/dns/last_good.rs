//! The last good set of zones on disk, for a start without git or cluster.

use std::{fs, io, io::Write as _, path::Path};

use serde::{Deserialize, Serialize};
use tidegate_core::zone::PublishedZone;

/// Why the file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("failed to write the last good zones to {path}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file system said no.
    #[error("failed to read the last good zones from {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not what we wrote.
    #[error("failed to understand the last good zones in {path}")]
    Format {
        /// The file.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A zone's content does not match its digest: the file was damaged or edited.
    #[error("the digest of zone {zone} in {path} does not match its content")]
    Digest {
        /// The file.
        path: String,
        /// The zone.
        zone: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    zones: Vec<PublishedZone>,
}

/// Writes the zones beside the old file, and then takes its place in one move: a reader sees the old file or the new one.
pub(super) fn store(path: &Path, zones: Vec<PublishedZone>) -> Result<(), Error> {
    let fail = |source| Error::Write { path: path.display().to_string(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let bytes = serde_json::to_vec_pretty(&File { version: 1, zones })
        .map_err(|source| fail(io::Error::other(source)))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    file.write_all(&bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    // The move itself must survive a power cut.
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// Reads the zones back and checks each one's digest.
pub(super) fn load(path: &Path) -> Result<Vec<PublishedZone>, Error> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).map_err(|source| Error::Read { path: shown(), source })?;
    let file: File =
        serde_json::from_slice(&bytes).map_err(|source| Error::Format { path: shown(), source })?;
    for zone in &file.zones {
        if zone.zone.digest() != zone.digest {
            return Err(Error::Digest { path: shown(), zone: zone.zone.name.clone() });
        }
    }
    Ok(file.zones)
}
