//! Releases with what they were about and who approved them, for lists and counts.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use tidegate_core::delivery::Counted;
use tidegate_core::history::{About, Wanted};
use tidegate_core::plan::Plan;

use super::{Journal, ReleaseRow, Result, database, read, release_row, write};

/// A release with what it was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSummary {
    /// How it stands.
    #[serde(flatten)]
    pub release: ReleaseRow,
    /// What it was about.
    #[serde(flatten)]
    pub about: About,
    /// Persons, and accounts that signed merges, whose approvals it consumed.
    pub approved_by: BTreeSet<String>,
}

const ROW: &str =
    "SELECT id, plan, revision, before_revision, started_at, phase, ended_at, about FROM release";

impl Journal {
    /// The latest releases that are wanted, newest first, at most so many.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn history(&self, wanted: &Wanted, limit: usize) -> Result<Vec<ReleaseSummary>> {
        let order = "ORDER BY started_at DESC, LENGTH(id) DESC, id DESC";
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{ROW} {order}")))
            .fetch_all(&self.pool)
            .await
            .map_err(database("read releases"))?;
        let mut found = Vec::new();
        for row in &rows {
            if found.len() == limit {
                break;
            }
            let (release, about) = (release_row(row)?, about(row)?);
            if wanted.takes(&about, release.phase, release.started_at) {
                found.push(ReleaseSummary { release, about, approved_by: BTreeSet::new() });
            }
        }
        let rows = sqlx::query(
            "SELECT consumed.release, signer.person FROM consumed
             JOIN signer ON signer.approval = consumed.approval",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(database("read who approved"))?;
        let mut persons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in rows {
            persons.entry(row.get(0)).or_default().insert(row.get(1));
        }
        for summary in &mut found {
            summary.approved_by = persons.remove(&summary.release.id).unwrap_or_default();
        }
        Ok(found)
    }

    /// One release with what it was about.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn summary(&self, id: &str) -> Result<Option<ReleaseSummary>> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{ROW} WHERE id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(database("read a release"))?;
        let Some(row) = row else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT signer.person FROM consumed
             JOIN signer ON signer.approval = consumed.approval WHERE consumed.release = $1",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(database("read who approved"))?;
        Ok(Some(ReleaseSummary {
            release: release_row(&row)?,
            about: about(&row)?,
            approved_by: rows.iter().map(|row| row.get(0)).collect(),
        }))
    }

    /// All releases with what is counted of them, oldest first.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn counted(&self) -> Result<Vec<Counted>> {
        let all = self.history(&Wanted::default(), usize::MAX).await?;
        let mut counted = Vec::with_capacity(all.len());
        for ReleaseSummary { release, about, .. } in all.into_iter().rev() {
            let (course, _) = self.course(&release.id).await?;
            let ReleaseRow { id, phase, started_at, ended_at, .. } = release;
            counted.push(Counted { id, phase, started_at, ended_at, about, course });
        }
        Ok(counted)
    }

    /// Journals of before this was kept: what plans still say of their releases.
    pub(super) async fn complete_about(&self) -> Result<()> {
        let what = "complete what releases were about";
        let rows = sqlx::query(
            "SELECT release.id, plan.plan FROM release
             LEFT JOIN plan ON plan.digest = release.plan WHERE release.about IS NULL",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(database(what))?;
        for row in rows {
            let plan = row.get::<Option<String>, _>(1);
            let plan: Option<Plan> = plan.map(|text| read("a plan", &text)).transpose()?;
            let about = plan.as_ref().map(About::of).unwrap_or_default();
            sqlx::query("UPDATE release SET about = $2 WHERE id = $1")
                .bind(row.get::<String, _>(0))
                .bind(write("what a release is about", &about)?)
                .execute(&self.pool)
                .await
                .map_err(database(what))?;
        }
        Ok(())
    }
}

fn about(row: &sqlx::sqlite::SqliteRow) -> Result<About> {
    let text = row.get::<Option<String>, _>(7);
    Ok(text.map(|text| read("what a release is about", &text)).transpose()?.unwrap_or_default())
}
