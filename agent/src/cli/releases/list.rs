//! `releases list`: which releases, and a line for each.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use owo_colors::OwoColorize as _;
use tidegate_core::plan::Task;
use tidegate_core::show::task_subject;
use tidegate_schema::finding::Finding;

use crate::cli::asking::Asking;
use crate::cli::failure::{Failure, Outcome, usage};
use crate::cli::output::ReleaseList;
use crate::cli::printer::{Printer, columns, padded, table};
use crate::cli::status::{ago, cut, lasting, phase, verb};
use crate::config;
use crate::journal::ReleaseSummary;

/// Which releases.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Only those that touch this product.
    #[arg(long, value_name = "PRODUCT")]
    product: Option<String>,
    /// Only those that stand so.
    #[arg(long, value_name = "PHASE", value_parser = [
        "running", "paused", "failed", "rollingBack", "done", "rolledBack", "cancelled", "superseded"
    ])]
    phase: Option<String>,
    /// Only those of this kind.
    #[arg(long, value_name = "KIND", value_parser = ["release", "operation", "test"])]
    kind: Option<String>,
    /// Only those that started then or later: a time, a date, or how long ago, such as 7d.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only those that started before: a time, a date, or how long ago.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

impl Which {
    /// As a query of the API.
    pub(super) fn query(&self, printer: &Printer) -> Result<String, Failure> {
        let instant =
            |text: &Option<String>| text.as_ref().map(|text| instant(text, printer)).transpose();
        let since = instant(&self.since)?.map(|at| at.to_string());
        let until = instant(&self.until)?.map(|at| at.to_string());
        let fields = [
            ("product", &self.product),
            ("phase", &self.phase),
            ("kind", &self.kind),
            ("since", &since),
            ("until", &until),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        Ok(query.finish())
    }
}

/// `2026-11-21T10:00:00Z`, `2026-11-21` (its beginning here), `7d` (ago).
fn instant(text: &str, printer: &Printer) -> Result<Timestamp, Failure> {
    let ago = || printer.now().checked_sub(config::duration(text)?).ok();
    let day = || {
        let day: Date = text.parse().ok().filter(|_| !text.contains([':', 'T', ' ']))?;
        let zone: TimeZone = printer.local(printer.now()).time_zone().clone();
        Some(day.to_zoned(zone).ok()?.timestamp())
    };
    let found = text.parse().ok().or_else(day).or_else(ago);
    found.ok_or_else(|| usage(Finding::error("COMMAND/NOT_A_TIME").with("text", text)))
}

pub(super) async fn run(
    which: &Which,
    limit: u32,
    asking: &Asking,
    printer: &Printer,
) -> Result<Outcome, Failure> {
    let path = format!("/api/v1/releases?limit={limit}&{}", which.query(printer)?);
    let releases: Vec<ReleaseSummary> = asking.client(printer)?.get(&path).await?;
    if printer.is_json() {
        printer.json(&ReleaseList { releases });
    } else if releases.is_empty() {
        printer.line(printer.say("No such release.", "没有符合条件的发布。"));
    } else {
        for line in lines(&releases, printer) {
            printer.line(line);
        }
    }
    Ok(Outcome::Done)
}

fn lines(releases: &[ReleaseSummary], printer: &Printer) -> Vec<String> {
    let now = printer.now();
    let cells: Vec<Vec<String>> = releases
        .iter()
        .map(|ReleaseSummary { release, .. }| {
            let took = release.ended_at.map(|ended| ended.duration_since(release.started_at));
            let took = took.map(|took| lasting(took.as_secs(), printer)).unwrap_or_default();
            let revision = release.revision.get(..12).unwrap_or(&release.revision).to_owned();
            vec![release.id.clone(), revision, ago(release.started_at, now, printer), took]
        })
        .collect();
    let phases: Vec<String> = releases.iter().map(|it| phase(it.release.phase, printer)).collect();
    let plain = |text: &String| anstream::adapter::strip_str(text).to_string();
    let widest = phases.iter().map(|it| columns(&plain(it))).max().unwrap_or_default();
    let left = table(&cells);
    let indent = left.iter().map(|line| columns(line)).max().unwrap_or_default();
    let room = printer.width.saturating_sub(indent + widest + 4);
    let rows = left.iter().zip(&phases).zip(releases);
    rows.map(|((left, phase), release)| {
        let gap = " ".repeat(widest.saturating_sub(columns(&plain(phase))));
        let about = about(release, room, printer);
        format!("{}  {phase}{gap}  {about}", padded(left, indent)).trim_end().to_owned()
    })
    .collect()
}

/// What it was about and who approved, in so many columns.
fn about(release: &ReleaseSummary, room: usize, printer: &Printer) -> String {
    let persons: Vec<&str> = release.approved_by.iter().map(String::as_str).collect();
    let persons = persons.join(", ");
    let persons = if persons.is_empty() { persons } else { format!("  ✓ {persons}") };
    let tasks = &release.about.tasks;
    let more = tasks.len().saturating_sub(1);
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    let first = tasks.first().map(|task| short(task, printer)).unwrap_or_default();
    // The task is what a line is looked for by: names give way first.
    let wanted = (columns(&first) + columns(&more)).min(room.max(20));
    let persons = cut(&persons, room.saturating_sub(wanted).max(1));
    let persons = if columns(&persons) < 6 { String::new() } else { persons };
    let first = cut(&first, room.saturating_sub(columns(&more) + columns(&persons)));
    format!("{first}{more}{}", persons.dimmed())
}

/// `deploy web/web 1.0.0 → 1.1.0`.
fn short(task: &Task, printer: &Printer) -> String {
    let subject = task_subject(task, printer.lang);
    format!("{} {subject} {}", verb(task.kind, printer), task.change()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use tidegate_schema::finding::Lang;

    use super::*;
    use crate::cli::printer::{Format, Terminal};
    use crate::clock::Clock;

    #[test]
    fn a_time_is_written_in_three_ways() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let clock = Clock::of(move || now);
        let printer = Printer::new(Format::Text, Lang::En, &Terminal::keeping(clock));
        let told = |text: &str| instant(text, &printer).ok().map(|at| at.to_string());
        let wanted = |text: &str| Some(text.to_owned());
        assert_eq!(told("2026-11-20T08:00:00+08:00"), wanted("2026-11-20T00:00:00Z"));
        assert_eq!(told("2026-11-20"), wanted("2026-11-20T00:00:00Z"));
        assert_eq!(told("7d"), wanted("2026-11-14T10:00:00Z"));
        for wrong in ["", "yesterday", "7", "2026-13-01"] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }
}
