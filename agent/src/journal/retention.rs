//! Removing what nobody needs any more: plans that were never carried out, and of old releases their plans and what machines
//! did. See docs/decisions/retention.md.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::Row as _;
use tidegate_core::digest::Digest;
use tidegate_core::history::{Course, stays};

use super::{Journal, Result, database, read, write};

/// The latest releases keep everything, however old they are.
const RELEASES: i64 = 50;
/// Plans that nobody signed and that were not carried out: so many are kept, to be compared with what waits now.
const PLANS: i64 = 200;
/// What is removed at once, in one transaction: then the loop looks at everything else first.
const PORTION: usize = 16;

/// What may be removed.
#[derive(Clone, Copy, Debug)]
pub struct Retention<'a> {
    /// Nothing that is younger, but for plans of which there are too many.
    pub before: Timestamp,
    /// The plan that waits now.
    pub current: Option<&'a Digest>,
    /// Releases that are still referred to, beside the latest ones.
    pub releases: &'a BTreeSet<String>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Plans that were not carried out.
    pub plans: usize,
    /// Releases of which only the record is left.
    pub releases: usize,
}

impl Removed {
    /// Whether there may be more to remove.
    pub fn is_portion(self) -> bool {
        self.plans == PORTION || self.releases == PORTION
    }
}

impl Journal {
    /// Removes one portion of what may go, and gives room back. Releases, approvals with their consumption, what people
    /// decided and what failed are never removed.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then the portion is there as before.
    pub async fn remove_old(&self, retention: Retention<'_>) -> Result<Removed> {
        let releases = self.thin_releases(retention).await?;
        let removed = Removed { plans: self.remove_plans(retention).await?, releases };
        if removed != Removed::default() {
            // Pages of files that were made before this was set are used again and not given back.
            sqlx::query("PRAGMA incremental_vacuum(4096)")
                .execute(&self.pool)
                .await
                .map_err(database("give room back"))?;
        }
        Ok(removed)
    }

    /// Plans to which no release refers that still has its events.
    async fn remove_plans(&self, retention: Retention<'_>) -> Result<usize> {
        let what = "remove plans";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        let current = retention.current.map(Digest::as_str).unwrap_or_default();
        let old = sqlx::query(
            "SELECT digest FROM plan WHERE digest <> $1 AND made_at < $2 AND NOT EXISTS
             (SELECT 1 FROM release WHERE release.plan = plan.digest AND release.thinned_before IS NULL)
             ORDER BY made_at LIMIT $3",
        )
        .bind(current)
        .bind(retention.before.to_string())
        .bind(limit(PORTION))
        .fetch_all(&mut *transaction)
        .await
        .map_err(database(what))?;
        let many = sqlx::query(
            "SELECT digest FROM plan WHERE digest <> $1 AND NOT EXISTS
             (SELECT 1 FROM release WHERE release.plan = plan.digest) AND NOT EXISTS
             (SELECT 1 FROM signer WHERE signer.plan = plan.digest)
             ORDER BY made_at DESC LIMIT $2 OFFSET $3",
        )
        .bind(current)
        .bind(limit(PORTION))
        .bind(PLANS)
        .fetch_all(&mut *transaction)
        .await
        .map_err(database(what))?;
        let digests: BTreeSet<String> = old.iter().chain(&many).map(|row| row.get(0)).collect();
        let digests: Vec<String> = digests.into_iter().take(PORTION).collect();
        for digest in &digests {
            sqlx::query("DELETE FROM plan WHERE digest = $1")
                .bind(digest)
                .execute(&mut *transaction)
                .await
                .map_err(database(what))?;
        }
        transaction.commit().await.map_err(database(what))?;
        Ok(digests.len())
    }

    /// Old releases: their numbers are kept, what machines did goes.
    async fn thin_releases(&self, retention: Retention<'_>) -> Result<usize> {
        let what = "remove events";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        let old = sqlx::query(
            "SELECT id FROM release WHERE thinned_before IS NULL AND ended_at < $1 AND id NOT IN
             (SELECT id FROM release ORDER BY started_at DESC, LENGTH(id) DESC, id DESC LIMIT $2)
             ORDER BY started_at LIMIT $3",
        )
        .bind(retention.before.to_string())
        .bind(RELEASES)
        .bind(limit(PORTION + retention.releases.len()))
        .fetch_all(&mut *transaction)
        .await
        .map_err(database(what))?;
        let old = old.iter().map(|row| row.get::<String, _>(0));
        let old: Vec<String> =
            old.filter(|id| !retention.releases.contains(id)).take(PORTION).collect();
        for release in &old {
            let events = super::events(&mut transaction, release).await?;
            sqlx::query("UPDATE release SET course = $2, thinned_before = $3 WHERE id = $1")
                .bind(release)
                .bind(write("a course", &Course::of(&events))?)
                .bind(retention.before.to_string())
                .execute(&mut *transaction)
                .await
                .map_err(database(what))?;
            sqlx::query("DELETE FROM run WHERE release = $1")
                .bind(release)
                .execute(&mut *transaction)
                .await
                .map_err(database(what))?;
            for event in events.iter().filter(|event| !stays(&event.event)) {
                sqlx::query("DELETE FROM event WHERE release = $1 AND number = $2")
                    .bind(release)
                    .bind(i64::try_from(event.number).unwrap_or(i64::MAX))
                    .execute(&mut *transaction)
                    .await
                    .map_err(database(what))?;
            }
        }
        transaction.commit().await.map_err(database(what))?;
        Ok(old.len())
    }

    /// How a release went in numbers, and whether events of it were removed.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn course(&self, release: &str) -> Result<(Course, bool)> {
        let row = sqlx::query("SELECT course, thinned_before FROM release WHERE id = $1")
            .bind(release)
            .fetch_optional(&self.pool)
            .await
            .map_err(database("read a course"))?;
        let Some(row) = row else { return Ok((Course::default(), false)) };
        let is_thinned = row.get::<Option<String>, _>(1).is_some();
        let course = match row.get::<Option<String>, _>(0) {
            Some(text) => read("a course", &text)?,
            // It has not ended, or did before this was kept.
            None => Course::of(&self.events(release).await?),
        };
        Ok((course, is_thinned))
    }

    /// Keeps who signed what, as it was verified.
    ///
    /// # Errors
    ///
    /// When it cannot be written, then nothing is.
    pub async fn keep_signers(&self, signers: &[Signer]) -> Result<()> {
        let what = "keep who signed";
        let mut transaction = self.pool.begin().await.map_err(database(what))?;
        for signer in signers {
            sqlx::query(
                "INSERT INTO signer (approval, plan, person) VALUES ($1, $2, $3)
                 ON CONFLICT (approval) DO NOTHING",
            )
            .bind(&signer.approval)
            .bind(&signer.plan)
            .bind(&signer.person)
            .execute(&mut *transaction)
            .await
            .map_err(database(what))?;
        }
        transaction.commit().await.map_err(database(what))
    }
}

/// Who signed what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Name under which it is consumed.
    pub approval: String,
    /// The plan that it names.
    pub plan: String,
    /// The person, or whose keys signed a merge.
    pub person: String,
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
