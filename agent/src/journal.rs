//! The journal: plans, releases with their events, inventory, approvals and baseline. The only place with SQL.

mod history;
mod retention;
mod runs;

pub use history::ReleaseSummary;
pub use retention::{Removed, Retention, Signer};
pub use runs::{KeptRun, RunWithLogs};

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqlitePool};
use tidegate_core::baseline::{Carried, Export};
use tidegate_core::digest::Digest;
use tidegate_core::history::{About, Course};
use tidegate_core::live::{Inventory, InventoryEntry};
use tidegate_core::object::ObjectRef;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::release::{Event, ReleaseEvent, ReleasePhase};
use tidegate_core::run::{RunLog, TaskRun};

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent works with this data folder.
    #[error("failed to lock {0}: another agent works with this data folder")]
    Locked(PathBuf),
    /// The folder or its lock cannot be written.
    #[error("failed to prepare {path}")]
    Folder {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database refused.
    #[error("failed to {what} in the journal")]
    Database {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The tables could not be brought to this version.
    #[error("failed to migrate the journal")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A stored document cannot be read, or one cannot be written.
    #[error("failed to read {what} of the journal")]
    Document {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

type Result<T> = std::result::Result<T, Error>;

/// The database's name in a data folder.
const FILE: &str = "journal.sqlite";

/// How often the lock is tried, and after which time again: who held it may just have ended, while a process that it was about
/// to start still has it until its program is loaded (fork(2), flock(2)).
const LOCK_TRIES: u32 = 10;
const LOCK_AGAIN: Duration = Duration::from_millis(50);

fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Database { what, source }
}

fn write(what: &'static str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|source| Error::Document { what, source })
}

fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::Document { what, source })
}

/// The journal of one agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    pool: SqlitePool,
    _lock: std::sync::Arc<File>,
}

/// One release, for lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRow {
    /// Its id: the site's count, `r12`.
    pub id: String,
    /// The plan that it executes.
    pub plan: Digest,
    /// The commit that the plan was made from.
    pub revision: String,
    /// The commit that was applied before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_revision: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// How it stood when last recorded.
    pub phase: ReleasePhase,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// An approval file as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredApproval {
    /// Path on the approvals branch.
    pub path: String,
    /// The document's text.
    pub document: String,
    /// Its detached signature, armored.
    pub signature: String,
}

/// A change of the inventory, in the transaction of the event that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InventoryChange {
    /// Will be applied: ours from now on, whatever happens.
    Intend(ObjectRef, InventoryEntry),
    /// Was applied.
    Applied(ObjectRef, InventoryEntry),
    /// Is gone, or was kept and is no longer ours.
    Remove(ObjectRef),
}

/// A single document to be written together with something else.
#[derive(Clone, Debug)]
pub struct Fact {
    name: &'static str,
    value: String,
}

impl Fact {
    /// A document by its name.
    ///
    /// # Errors
    ///
    /// When it has no form as JSON.
    pub fn new(name: &'static str, value: &impl Serialize) -> Result<Self> {
        Ok(Self { name, value: write("a document", value)? })
    }
}

/// Names of single documents.
pub mod fact {
    /// What the site has reached ([`tidegate_core::baseline::Baseline`]).
    pub const BASELINE: &str = "baseline";
    /// The commit last accepted.
    pub const ACCEPTED: &str = "accepted";
    /// Why nothing may start.
    pub const FREEZE: &str = "freeze";
    /// Autoscalers that a release has left held, as it ended before it could let them go (a list of
    /// [`tidegate_core::object::ObjectRef`]).
    pub const HELD: &str = "held";
    /// What registries said of images ([`tidegate_core::pin::Answers`]).
    pub const IMAGES: &str = "images";
    /// The release that was last answered by a branch that takes its documents back.
    pub const REVERT: &str = "revert";
    /// Serials and content of the zones that are served.
    pub const ZONES: &str = "zones";
}

impl Journal {
    /// Opens the journal in a data folder, making both when they are missing, and locks the folder for this process.
    ///
    /// # Errors
    ///
    /// When another agent holds the folder, or the database cannot be used.
    pub async fn open(folder: &Path) -> Result<Self> {
        let prepared = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Folder { path, source }
        };
        std::fs::create_dir_all(folder).map_err(prepared(folder))?;
        let path = folder.join("agent.lock");
        let lock = File::create(&path).map_err(prepared(&path))?;
        let mut tries = 1;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(std::fs::TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tokio::time::sleep(LOCK_AGAIN).await;
                    tries += 1;
                }
                Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Locked(path)),
                Err(std::fs::TryLockError::Error(source)) => {
                    return Err(Error::Folder { path, source });
                }
            }
        }
        // Synchronous writes: an event that was recorded before its effect must survive a power failure, not only the
        // process.
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE))
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        // One writer: SQLite has no more, and order is then plain.
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let pool = pool.map_err(database("open the database"))?;
        sqlx::migrate!().run(&pool).await.map_err(Error::Migrate)?;
        let journal = Self { pool, _lock: std::sync::Arc::new(lock) };
        journal.complete_about().await?;
        Ok(journal)
    }

    /// Copies the journal of a data folder into another folder, as it is at this instant. The agent that works with it may go
    /// on, and nothing is written there. `false` when the folder has none.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the copy cannot be written.
    pub async fn copy(from: &Path, to: &Path) -> Result<bool> {
        let path = from.join(FILE);
        if !path.is_file() {
            return Ok(false);
        }
        let what = "copy";
        std::fs::create_dir_all(to)
            .map_err(|source| Error::Folder { path: to.to_owned(), source })?;
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let pool = pool.map_err(database(what))?;
        let target = to.join(FILE).display().to_string();
        let copied = sqlx::query("VACUUM INTO $1").bind(target).execute(&pool).await;
        copied.map_err(database(what))?;
        pool.close().await;
        Ok(true)
    }

    /// Writes everything to the file and ends.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// A single document.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let row = sqlx::query("SELECT value FROM fact WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(database("read a document"))?;
        row.map(|row| read("a document", row.get(0))).transpose()
    }

    /// Replaces a single document.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub async fn set_fact(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let value = write("a document", value)?;
        set_fact(&self.pool, name, &value).await.map_err(database("write a document"))
    }

    /// Removes a single document.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub async fn clear_fact(&self, name: &str) -> Result<()> {
        sqlx::query("DELETE FROM fact WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(database("remove a document"))?;
        Ok(())
    }

    /// Keeps a plan; the same plan from a later commit replaces commit and report.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub async fn save_plan(&self, plan: &Plan, report: &PlanReport, at: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO plan (digest, revision, made_at, plan, report) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (digest) DO UPDATE SET revision = $2, plan = $4, report = $5",
        )
        .bind(plan.id().to_string())
        .bind(&plan.revision)
        .bind(at.to_string())
        .bind(write("a plan", plan)?)
        .bind(write("a plan", report)?)
        .execute(&self.pool)
        .await
        .map_err(database("write a plan"))?;
        Ok(())
    }

    /// A plan by its digest.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn plan(&self, digest: &Digest) -> Result<Option<(Plan, PlanReport)>> {
        let row = sqlx::query("SELECT plan, report FROM plan WHERE digest = $1")
            .bind(digest.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(database("read a plan"))?;
        row.map(|row| Ok((read("a plan", row.get(0))?, read("a plan", row.get(1))?))).transpose()
    }

    /// The plan that was made last.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn latest_plan(&self) -> Result<Option<Digest>> {
        let row = sqlx::query("SELECT digest FROM plan ORDER BY made_at DESC LIMIT 1")
            .fetch_optional(&self.pool)
            .await
            .map_err(database("read plans"))?;
        Ok(row.and_then(|row| Digest::parse(row.get::<String, _>(0).as_str())))
    }

    /// The plans whose digest begins with some hexadecimal digits, at most two: enough to know whether it is one.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn plans_of(&self, digits: &str) -> Result<Vec<Digest>> {
        if !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let rows = sqlx::query("SELECT digest FROM plan WHERE digest LIKE $1 LIMIT 2")
            .bind(format!("sha256:{digits}%"))
            .fetch_all(&self.pool)
            .await
            .map_err(database("read plans"))?;
        let digest = |row: &sqlx::sqlite::SqliteRow| {
            let text: String = row.get(0);
            Digest::parse(&text)
        };
        Ok(rows.iter().filter_map(digest).collect())
    }

    /// Starts a release: its first event, the consumption of its approvals and the intended inventory in one
    /// transaction. Before it returns nothing was written to any cluster; after it nothing that will be is unknown.
    ///
    /// # Errors
    ///
    /// When it cannot be written, then nothing is.
    pub async fn start_release(
        &self,
        plan: &Plan,
        before_revision: Option<&str>,
        committed_at: Option<Timestamp>,
        approvals: &[String],
        inventory: &[InventoryChange],
        at: Timestamp,
    ) -> Result<ReleaseRow> {
        let what = "start a release";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        let count: i64 = sqlx::query("SELECT COUNT(*) FROM release")
            .fetch_one(&mut *transaction)
            .await
            .map_err(database(what))?
            .get(0);
        let row = ReleaseRow {
            id: format!("r{}", count + 1),
            plan: plan.id(),
            revision: plan.revision.clone(),
            before_revision: before_revision.map(ToOwned::to_owned),
            started_at: at,
            phase: ReleasePhase::Running,
            ended_at: None,
        };
        let planned_at = planned_at(&mut transaction, &row.plan).await?;
        let about = About { committed_at, planned_at, ..About::of(plan) };
        sqlx::query(
            "INSERT INTO release (id, plan, revision, before_revision, started_at, phase, about)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&row.id)
        .bind(row.plan.as_str())
        .bind(&row.revision)
        .bind(&row.before_revision)
        .bind(at.to_string())
        .bind(write("a phase", &row.phase)?)
        .bind(write("what a release is about", &about)?)
        .execute(&mut *transaction)
        .await
        .map_err(database(what))?;
        let opened = Event::Opened { plan: row.plan.clone(), approvals: approvals.to_vec() };
        insert_event(&mut transaction, &row.id, 1, at, &opened).await?;
        consume(&mut transaction, &row.id, approvals).await?;
        change_inventory(&mut transaction, inventory).await?;
        transaction.commit().await.map_err(database(what))?;
        Ok(row)
    }

    /// Appends events to a release, with the changes of the inventory that belong to them, in one transaction.
    ///
    /// # Errors
    ///
    /// When they cannot be written, then none is.
    pub async fn append(
        &self,
        release: &str,
        events: &[Event],
        inventory: &[InventoryChange],
        runs: &[(TaskRun, Vec<RunLog>)],
        at: Timestamp,
    ) -> Result<Vec<ReleaseEvent>> {
        let what = "append to a release";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        let last: Option<i64> = sqlx::query("SELECT MAX(number) FROM event WHERE release = $1")
            .bind(release)
            .fetch_one(&mut *transaction)
            .await
            .map_err(database(what))?
            .get(0);
        let mut recorded = Vec::new();
        let mut number = u64::try_from(last.unwrap_or(0)).unwrap_or(0);
        for event in events {
            number += 1;
            insert_event(&mut transaction, release, number, at, event).await?;
            consume(&mut transaction, release, event.consumes()).await?;
            recorded.push(ReleaseEvent { number, at, event: event.clone() });
        }
        change_inventory(&mut transaction, inventory).await?;
        runs::insert(&mut transaction, release, runs, at).await?;
        transaction.commit().await.map_err(database(what))?;
        Ok(recorded)
    }

    /// Records how a release stands; when it has ended, with the documents that it leaves, in one transaction: whoever
    /// starts again finds either all of the end or nothing of it.
    ///
    /// # Errors
    ///
    /// When it cannot be written, then nothing is.
    pub async fn set_phase(
        &self,
        release: &str,
        phase: ReleasePhase,
        facts: &[Fact],
        at: Timestamp,
    ) -> Result<()> {
        let what = "record a phase";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        let course = if phase.is_ended() {
            let course = Course::of(&events(&mut transaction, release).await?);
            Some(write("a course", &course)?)
        } else {
            None
        };
        sqlx::query("UPDATE release SET phase = $2, ended_at = $3, course = $4 WHERE id = $1")
            .bind(release)
            .bind(write("a phase", &phase)?)
            .bind(phase.is_ended().then(|| at.to_string()))
            .bind(course)
            .execute(&mut *transaction)
            .await
            .map_err(database(what))?;
        set_facts(&mut transaction, facts).await.map_err(database(what))?;
        transaction.commit().await.map_err(database(what))
    }

    /// Changes the inventory apart from any event: what is seen to be so already.
    ///
    /// # Errors
    ///
    /// When it cannot be written, then nothing is.
    pub async fn change_inventory(&self, changes: &[InventoryChange]) -> Result<()> {
        let what = "change the inventory";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        change_inventory(&mut transaction, changes).await?;
        transaction.commit().await.map_err(database(what))
    }

    /// Takes up what another agent had reached: single documents, what is ours, and the approvals that are used up, in one
    /// transaction.
    ///
    /// # Errors
    ///
    /// When it cannot be written, then nothing is.
    pub async fn take_up(
        &self,
        facts: &[Fact],
        inventory: &[InventoryChange],
        consumed: &[String],
    ) -> Result<()> {
        let what = "take up a baseline";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        change_inventory(&mut transaction, inventory).await?;
        consume(&mut transaction, "imported", consumed).await?;
        set_facts(&mut transaction, facts).await.map_err(database(what))?;
        transaction.commit().await.map_err(database(what))
    }

    /// What the site has reached, with what another agent needs to go on from it.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn export(&self) -> Result<Option<Export>> {
        let Some(baseline) = self.fact(fact::BASELINE).await? else { return Ok(None) };
        let carried =
            Carried { inventory: self.inventory().await?, consumed: self.consumed().await? };
        Ok(Some(Export::new(baseline, carried)))
    }

    /// All events of a release, in order.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn events(&self, release: &str) -> Result<Vec<ReleaseEvent>> {
        let mut transaction = self.pool.begin().await.map_err(database("read events"))?;
        events(&mut transaction, release).await
    }

    /// The latest releases, newest first.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn releases(&self, limit: u32) -> Result<Vec<ReleaseRow>> {
        let rows = sqlx::query(
            "SELECT id, plan, revision, before_revision, started_at, phase, ended_at FROM release
             ORDER BY started_at DESC, LENGTH(id) DESC, id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(database("read releases"))?;
        rows.iter().map(release_row).collect()
    }

    /// When the last release of a revision before an instant started that ended well.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn delivered(&self, revision: &str, before: Timestamp) -> Result<Option<Timestamp>> {
        let rows = sqlx::query("SELECT started_at FROM release WHERE revision = $1 AND phase = $2")
            .bind(revision)
            .bind(write("a phase", &ReleasePhase::Done)?)
            .fetch_all(&self.pool)
            .await
            .map_err(database("read releases"))?;
        let starts = rows.iter().map(|row| time(row.get(0)));
        Ok(starts.filter(|started| *started < before).max())
    }

    /// One release.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn release(&self, id: &str) -> Result<Option<ReleaseRow>> {
        let row = sqlx::query(
            "SELECT id, plan, revision, before_revision, started_at, phase, ended_at FROM release
             WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(database("read a release"))?;
        row.as_ref().map(release_row).transpose()
    }

    /// What is ours.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn inventory(&self) -> Result<Inventory> {
        let rows =
            sqlx::query("SELECT cluster, api_group, kind, namespace, name, entry FROM inventory")
                .fetch_all(&self.pool)
                .await
                .map_err(database("read the inventory"))?;
        let mut inventory = Inventory::default();
        for row in rows {
            let reference = ObjectRef {
                cluster: row.get(0),
                group: row.get(1),
                kind: row.get(2),
                namespace: row.get(3),
                name: row.get(4),
            };
            inventory.entries.insert(reference, read("the inventory", row.get(5))?);
        }
        Ok(inventory)
    }

    /// Keeps approval files that are not known yet; a known path keeps what was first seen.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub async fn keep_approvals(&self, files: &[StoredApproval], at: Timestamp) -> Result<()> {
        for file in files {
            sqlx::query(
                "INSERT INTO approval (path, document, signature, seen_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (path) DO NOTHING",
            )
            .bind(&file.path)
            .bind(&file.document)
            .bind(&file.signature)
            .bind(at.to_string())
            .execute(&self.pool)
            .await
            .map_err(database("keep an approval"))?;
        }
        Ok(())
    }

    /// All approval files ever seen.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn approvals(&self) -> Result<Vec<StoredApproval>> {
        let rows = sqlx::query("SELECT path, document, signature FROM approval ORDER BY path")
            .fetch_all(&self.pool)
            .await
            .map_err(database("read approvals"))?;
        let stored = |row: sqlx::sqlite::SqliteRow| StoredApproval {
            path: row.get(0),
            document: row.get(1),
            signature: row.get(2),
        };
        Ok(rows.into_iter().map(stored).collect())
    }

    /// Names of approvals that an execution has used up.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn consumed(&self) -> Result<BTreeSet<String>> {
        let rows = sqlx::query("SELECT approval FROM consumed")
            .fetch_all(&self.pool)
            .await
            .map_err(database("read consumed approvals"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

type Transaction<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

async fn set_fact(
    connection: impl sqlx::Executor<'_, Database = sqlx::Sqlite>,
    name: &str,
    value: &str,
) -> sqlx::Result<()> {
    let query = "INSERT INTO fact (name, value) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = $2";
    sqlx::query(query).bind(name).bind(value).execute(connection).await?;
    Ok(())
}

async fn set_facts(transaction: &mut Transaction<'_>, facts: &[Fact]) -> sqlx::Result<()> {
    for fact in facts {
        set_fact(&mut **transaction, fact.name, &fact.value).await?;
    }
    Ok(())
}

async fn insert_event(
    transaction: &mut Transaction<'_>,
    release: &str,
    number: u64,
    at: Timestamp,
    event: &Event,
) -> Result<()> {
    sqlx::query("INSERT INTO event (release, number, at, event) VALUES ($1, $2, $3, $4)")
        .bind(release)
        .bind(i64::try_from(number).unwrap_or(i64::MAX))
        .bind(at.to_string())
        .bind(write("an event", event)?)
        .execute(&mut **transaction)
        .await
        .map_err(database("append an event"))?;
    Ok(())
}

async fn events(transaction: &mut Transaction<'_>, release: &str) -> Result<Vec<ReleaseEvent>> {
    let rows =
        sqlx::query("SELECT number, at, event FROM event WHERE release = $1 ORDER BY number")
            .bind(release)
            .fetch_all(&mut **transaction)
            .await
            .map_err(database("read events"))?;
    let event = |row: &sqlx::sqlite::SqliteRow| {
        Ok(ReleaseEvent {
            number: u64::try_from(row.get::<i64, _>(0)).unwrap_or(0),
            at: time(row.get(1)),
            event: read("an event", row.get(2))?,
        })
    };
    rows.iter().map(event).collect()
}

async fn consume(
    transaction: &mut Transaction<'_>,
    release: &str,
    approvals: &[String],
) -> Result<()> {
    for approval in approvals {
        sqlx::query(
            "INSERT INTO consumed (approval, release) VALUES ($1, $2)
             ON CONFLICT (approval) DO NOTHING",
        )
        .bind(approval)
        .bind(release)
        .execute(&mut **transaction)
        .await
        .map_err(database("consume an approval"))?;
    }
    Ok(())
}

async fn change_inventory(
    transaction: &mut Transaction<'_>,
    changes: &[InventoryChange],
) -> Result<()> {
    for change in changes {
        let (reference, entry) = match change {
            InventoryChange::Intend(reference, entry)
            | InventoryChange::Applied(reference, entry) => {
                (reference, Some(write("the inventory", entry)?))
            }
            InventoryChange::Remove(reference) => (reference, None),
        };
        let query = match &entry {
            Some(_) => sqlx::query(
                "INSERT INTO inventory (cluster, api_group, kind, namespace, name, entry)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (cluster, api_group, kind, namespace, name) DO UPDATE SET entry = $6",
            ),
            None => sqlx::query(
                "DELETE FROM inventory WHERE cluster = $1 AND api_group = $2 AND kind = $3
                 AND namespace = $4 AND name = $5",
            ),
        };
        let query = query
            .bind(&reference.cluster)
            .bind(&reference.group)
            .bind(&reference.kind)
            .bind(&reference.namespace)
            .bind(&reference.name);
        let query = match entry {
            Some(entry) => query.bind(entry),
            None => query,
        };
        query.execute(&mut **transaction).await.map_err(database("change the inventory"))?;
    }
    Ok(())
}

/// When a plan was first made, or when the last release ended if that was later.
async fn planned_at(transaction: &mut Transaction<'_>, plan: &Digest) -> Result<Option<Timestamp>> {
    let what = "read when a plan was made";
    let made = sqlx::query("SELECT made_at FROM plan WHERE digest = $1")
        .bind(plan.as_str())
        .fetch_optional(&mut **transaction)
        .await
        .map_err(database(what))?;
    let ended = sqlx::query("SELECT MAX(ended_at) FROM release")
        .fetch_one(&mut **transaction)
        .await
        .map_err(database(what))?;
    let made = made.map(|row| time(row.get(0)));
    let ended = ended.get::<Option<String>, _>(0).map(|text| time(&text));
    Ok(made.map(|made| ended.map_or(made, |ended| made.max(ended))))
}

/// Times are written by us; one that cannot be read was damaged, and the epoch shows that.
fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn release_row(row: &sqlx::sqlite::SqliteRow) -> Result<ReleaseRow> {
    let plan: String = row.get(1);
    Ok(ReleaseRow {
        id: row.get(0),
        plan: Digest::parse(&plan).unwrap_or_else(|| Digest::of_bytes(b"")),
        revision: row.get(2),
        before_revision: row.get(3),
        started_at: time(row.get(4)),
        phase: read("a phase", row.get(5))?,
        ended_at: row.get::<Option<String>, _>(6).map(|text| time(&text)),
    })
}

#[cfg(test)]
mod tests;
