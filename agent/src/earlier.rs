//! Releases that operations go back to: each with the files of its revision, so that `core` can read them.

use futures::future::BoxFuture;
use jiff::Timestamp;
use tidegate_core::release::ReleasePhase;
use tidegate_core::snapshot::{Earlier, Snapshot};
use tidegate_core::validate::earlier_releases;

use crate::journal::ReleaseRow;

/// Where releases are known, and the files of their revisions.
pub(crate) trait Releases: Sync {
    /// A release by its id; the text of what went wrong when it cannot be read.
    fn row(&self, id: &str) -> BoxFuture<'_, Result<Option<ReleaseRow>, String>>;
    /// The files of a commit; the text of what went wrong when they cannot be read.
    fn files(&self, commit: &str) -> BoxFuture<'_, Result<Snapshot, String>>;
}

/// Looks up what operations of a snapshot go back to, and what operations of those revisions went back to. Each release of
/// such a chain was before the one that names it, and before `before`: so it ends.
pub(crate) fn complete(
    mut snapshot: Snapshot,
    releases: &dyn Releases,
    before: Option<Timestamp>,
) -> BoxFuture<'_, Snapshot> {
    Box::pin(async move {
        for id in earlier_releases(&snapshot) {
            let earlier = look_up(&id, releases, before).await;
            snapshot.earlier.insert(id, earlier);
        }
        snapshot
    })
}

async fn look_up(id: &str, releases: &dyn Releases, before: Option<Timestamp>) -> Earlier {
    let row = match releases.row(id).await {
        Ok(Some(row)) if before.is_none_or(|before| row.started_at < before) => row,
        Ok(_) => return Earlier::Unknown,
        Err(cause) => return Earlier::Unreadable(cause),
    };
    if row.phase != ReleasePhase::Done {
        return Earlier::NotDelivered(row.phase.name().to_owned());
    }
    let at = row.started_at;
    match releases.files(&row.revision).await {
        Ok(files) => {
            let snapshot = Box::new(complete(files, releases, Some(at)).await);
            Earlier::Delivered { at, snapshot }
        }
        Err(cause) => Earlier::Unreadable(cause),
    }
}

/// Whether all that can be known of these releases is; one that was not done may be by now.
pub(crate) fn is_complete(snapshot: &Snapshot) -> bool {
    snapshot.earlier.values().all(|earlier| matches!(earlier, Earlier::Delivered { .. }))
}
