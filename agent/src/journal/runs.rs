//! Tries of tasks and tests of a release, with what they wrote.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use tidegate_core::run::{RunLog, TaskRun};

use super::{Journal, Result, Transaction, database, read, time, write};

/// A try, as lists have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptRun {
    /// 1, 2, 3 … within the release, in the order in which they ended.
    pub number: u32,
    /// 1 at first; further tries of the same Job count up.
    pub attempt: u32,
    /// When it was recorded.
    pub at: Timestamp,
    /// What it was.
    #[serde(flatten)]
    pub run: TaskRun,
}

/// A try with what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunWithLogs {
    /// The try.
    #[serde(flatten)]
    pub run: KeptRun,
    /// Logs of its containers, oldest pod first; a container that never began has none.
    pub logs: Vec<RunLog>,
}

impl Journal {
    /// The tries of a release, in the order in which they ended.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn runs(&self, release: &str) -> Result<Vec<KeptRun>> {
        let rows =
            sqlx::query("SELECT number, at, run FROM run WHERE release = $1 ORDER BY number")
                .bind(release)
                .fetch_all(&self.pool)
                .await
                .map_err(database("read runs"))?;
        let mut attempts: BTreeMap<_, u32> = BTreeMap::new();
        let kept = rows.iter().map(|row| {
            let run: TaskRun = read("a run", row.get(2))?;
            let attempt = attempts.entry((run.step.clone(), run.job.clone())).or_default();
            *attempt += 1;
            Ok(KeptRun { number: number(row), attempt: *attempt, at: time(row.get(1)), run })
        });
        kept.collect()
    }

    /// One try of a release with what it wrote.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn run(&self, release: &str, number: u32) -> Result<Option<RunWithLogs>> {
        let all = self.runs(release).await?;
        let Some(run) = all.into_iter().find(|it| it.number == number) else { return Ok(None) };
        let row = sqlx::query("SELECT logs FROM run WHERE release = $1 AND number = $2")
            .bind(release)
            .bind(i64::from(number))
            .fetch_optional(&self.pool)
            .await
            .map_err(database("read a run"))?;
        let logs = row.map_or(Ok(Vec::new()), |row| read("logs of a run", row.get(0)))?;
        Ok(Some(RunWithLogs { run, logs }))
    }
}

fn number(row: &SqliteRow) -> u32 {
    u32::try_from(row.get::<i64, _>(0)).unwrap_or(0)
}

/// Keeps tries, each under the next number.
pub(super) async fn insert(
    transaction: &mut Transaction<'_>,
    release: &str,
    runs: &[(TaskRun, Vec<RunLog>)],
    at: Timestamp,
) -> Result<()> {
    for (run, logs) in runs {
        sqlx::query(
            "INSERT INTO run (release, number, at, run, logs)
             SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4 FROM run WHERE release = $1",
        )
        .bind(release)
        .bind(at.to_string())
        .bind(write("a run", run)?)
        .bind(write("logs of a run", logs)?)
        .execute(&mut **transaction)
        .await
        .map_err(database("keep a run"))?;
    }
    Ok(())
}
