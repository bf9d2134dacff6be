//! The agent's journal, read from outside while the agent writes it, and after its death.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// A reader that never locks the agent out, as the database is in WAL mode.
pub(crate) struct Reader {
    pool: SqlitePool,
    log: PathBuf,
}

impl Reader {
    /// Of a data folder; nothing needs to be there yet.
    pub(crate) fn open(data: &Path) -> Self {
        let file = data.join("journal.sqlite");
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .read_only(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        Self { pool, log: data.join("journal.sqlite-wal") }
    }

    /// When the agent last wrote; cheaper to ask than the database.
    pub(crate) fn written(&self) -> Option<SystemTime> {
        self.log.metadata().ok()?.modified().ok()
    }

    /// How many events there are; none before the tables are there.
    pub(crate) async fn count(&self) -> i64 {
        let row = sqlx::query("SELECT COUNT(*) FROM event").fetch_one(&self.pool).await;
        row.map_or(0, |row| row.get(0))
    }

    /// How many plans there are.
    pub(crate) async fn plans(&self) -> i64 {
        let row = sqlx::query("SELECT COUNT(*) FROM plan").fetch_one(&self.pool).await;
        row.map_or(0, |row| row.get(0))
    }

    /// The events of each release, each as often as it was recorded. Objects that were recorded together in one run and
    /// apart in another are the same, so each counts by itself.
    pub(crate) async fn events(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let rows = sqlx::query("SELECT release, event FROM event ORDER BY release, number");
        let mut releases: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for row in rows.fetch_all(&self.pool).await.unwrap() {
            let mut event: Value = serde_json::from_str(row.get(1)).unwrap();
            let release = releases.entry(row.get(0)).or_default();
            let objects = event.as_object_mut().unwrap().remove("objects");
            // The plan's digest covers uids and times of this run's clusters; names of approvals name the plan.
            event.as_object_mut().unwrap().remove("plan");
            // Pods have other uids in each run.
            for (list, word) in [("approvals", "an approval"), ("pods", "a pod")] {
                for name in event.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
                {
                    *name = word.into();
                }
            }
            match objects {
                None => *release.entry(event.to_string()).or_default() += 1,
                Some(objects) => {
                    for object in objects.as_array().unwrap() {
                        *release.entry(format!("{event} {object}")).or_default() += 1;
                    }
                }
            }
        }
        releases
    }

    /// What SQLite says of the file.
    pub(crate) async fn integrity(&self) -> String {
        let row = sqlx::query("PRAGMA integrity_check").fetch_one(&self.pool).await;
        row.unwrap().get(0)
    }

    /// Approvals that were used up, and by which release.
    pub(crate) async fn consumed(&self) -> Vec<String> {
        let rows = sqlx::query("SELECT release FROM consumed ORDER BY release");
        rows.fetch_all(&self.pool).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}
