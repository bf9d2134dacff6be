//! `releases metrics`: how delivery goes, in numbers, for people, programs and spreadsheets.

use owo_colors::OwoColorize as _;
use serde_json::Value;
use tidegate_core::delivery::{Delivery, ReleaseMeasures};
use tidegate_schema::finding::Lang;

use super::list::Which;
use crate::cli::asking::Asking;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::printer::{Format, Printer, table};
use crate::cli::status::lasting;

pub(super) async fn run(
    which: &Which,
    asking: &Asking,
    printer: &Printer,
) -> Result<Outcome, Failure> {
    let path = format!("/api/v1/delivery?{}", which.query(printer)?);
    let delivery: Delivery = asking.client(printer)?.get(&path).await?;
    match printer.format {
        Format::Json => printer.json(&delivery),
        Format::Csv => printer.text(&csv(&delivery.releases)),
        Format::Text | Format::Markdown | Format::Html => {
            for line in lines(&delivery, printer) {
                printer.line(line);
            }
        }
    }
    Ok(Outcome::Done)
}

fn lines(delivery: &Delivery, printer: &Printer) -> Vec<String> {
    let sums = &delivery.sums;
    let day = |at| printer.local(at).strftime("%F").to_string();
    let since = sums.since.map_or_else(|| "–".to_owned(), day);
    let until = day(sums.until);
    let head = match printer.lang {
        Lang::En => {
            format!("{since} to {until}, {} releases", sums.releases)
        }
        Lang::Zh => {
            format!("{since} 至 {until}，{} 次发布", sums.releases)
        }
    };
    let nothing = || printer.say("no data", "无数据").to_owned();
    let time = |seconds: Option<i64>| seconds.map_or_else(nothing, |it| lasting(it, printer));
    let per_week = sums.deployments_per_week.map_or_else(nothing, |it| format!("{it:.1}"));
    let failed =
        sums.change_failure_rate.map_or_else(nothing, |rate| format!("{:.0} %", rate * 100.0));
    let row = |label: (&str, &str), value: String, note: (&str, &str)| {
        let note = printer.say(note.0, note.1).to_owned();
        vec![printer.say(label.0, label.1).to_owned(), value, note]
    };
    let rows = [
        row(
            ("Deployments per week", "每周部署"),
            per_week,
            ("releases and operations that ended well", "成功结束的发布与运维"),
        ),
        row(
            ("Lead time", "前置时间"),
            time(sums.lead_seconds),
            ("from commit to end", "从提交到完成"),
        ),
        row(
            ("Change failure rate", "变更失败率"),
            failed,
            ("went back, given up, or taken back later", "回滚、失败后放弃或事后撤回"),
        ),
        row(
            ("Time to restore", "恢复时间"),
            time(sums.restore_seconds),
            ("from failure until the products were well", "从失败到产品恢复"),
        ),
        row(
            ("Waiting", "等待"),
            time(sums.waiting_seconds),
            ("for approvals, windows and freezes", "等待审批、窗口与冻结"),
        ),
        row(
            ("Duration", "用时"),
            time(sums.duration_seconds),
            ("from start to end", "从开始到结束"),
        ),
    ];
    let note = printer.say(
        "Times are medians; `--format csv` and `--format json` have each release.",
        "时间为中位数；`--format csv` 与 `--format json` 给出每次发布。",
    );
    let mut lines = vec![head.bold().to_string(), String::new()];
    lines.extend(table(&rows));
    lines.extend([String::new(), note.dimmed().to_string()]);
    lines
}

/// Columns, by their names in JSON.
const COLUMNS: [&str; 18] = [
    "id",
    "kind",
    "products",
    "phase",
    "startedAt",
    "endedAt",
    "leadSeconds",
    "waitingSeconds",
    "durationSeconds",
    "steps",
    "groups",
    "confirmations",
    "failures",
    "retries",
    "waivers",
    "isRolledBack",
    "isFailedChange",
    "restoreSeconds",
];

/// RFC 4180, with a head; what is not known is empty, products are separated by spaces.
fn csv(releases: &[ReleaseMeasures]) -> String {
    let mut text = COLUMNS.join(",") + "\r\n";
    for release in releases {
        let fields = serde_json::to_value(release).unwrap_or_default();
        let cells = COLUMNS.map(|name| cell(fields.get(name).unwrap_or(&Value::Null)));
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidegate_core::history::Course;
    use tidegate_core::release::ReleasePhase;

    use super::*;

    #[test]
    fn a_row_has_each_column_and_what_is_not_known_is_empty() {
        let release = ReleaseMeasures {
            id: "r1".to_owned(),
            kind: None,
            products: BTreeSet::from(["db".to_owned(), "web".to_owned()]),
            phase: ReleasePhase::RolledBack,
            started_at: "2026-11-21T10:00:00Z".parse().unwrap(),
            ended_at: None,
            lead_seconds: None,
            waiting_seconds: Some(5),
            duration_seconds: None,
            course: Course { steps: 2, is_rolled_back: true, ..Course::default() },
            is_failed_change: true,
            restore_seconds: None,
        };
        let text = csv(&[release]);
        let rows: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(rows[0], COLUMNS.join(","));
        assert_eq!(
            rows[1],
            "r1,,db web,rolledBack,2026-11-21T10:00:00Z,,,5,,2,0,0,0,0,0,true,true,"
        );
        assert_eq!(rows.len(), 2);
        assert_eq!(cell(&Value::from("a \"b\", c")), "\"a \"\"b\"\", c\"");
    }
}
