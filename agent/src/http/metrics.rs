//! Metrics in the text form of Prometheus (exposition format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use tidegate_schema::finding::Severity;

use super::Shared;
use super::answer::typed;
use crate::status::{Condition, Status};

/// A counter of another part of the agent.
#[derive(Clone, Debug)]
pub struct Count {
    /// Name, `tidegate_…_total`.
    pub name: &'static str,
    /// What is counted.
    pub help: &'static str,
    /// A label and its value; both empty when there is none.
    pub label: (&'static str, &'static str),
    /// How many since the start.
    pub value: u64,
}

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let text = text(&shared.handle.status(), &(shared.options.counts)());
    typed("text/plain; version=0.0.4; charset=utf-8", text)
}

/// All metrics.
fn text(status: &Status, counts: &[Count]) -> String {
    let mut page = Page::default();
    page.describe("tidegate_build_info", "The agent's version.", "gauge");
    page.sample("tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.describe("tidegate_updated_timestamp_seconds", "When the last round ended.", "gauge");
    if let Some(at) = status.updated_at {
        page.sample("tidegate_updated_timestamp_seconds", &[], at.as_second());
    }
    page.describe("tidegate_condition", "1 for the condition that the site is in.", "gauge");
    for condition in Condition::ALL {
        let is_it = u8::from(condition == status.condition);
        page.sample("tidegate_condition", &[("condition", &word(&condition))], is_it);
    }
    page.describe("tidegate_source_reachable", "Whether the repository could be read.", "gauge");
    page.sample("tidegate_source_reachable", &[], u8::from(status.source.problem.is_none()));
    site(&mut page, status);
    let mut last = "";
    for count in counts {
        if count.name != last {
            page.describe(count.name, count.help, "counter");
            last = count.name;
        }
        let labels = [count.label];
        let labels = if count.label.0.is_empty() { &[] } else { labels.as_slice() };
        page.sample(count.name, labels, count.value);
    }
    page.0
}

fn site(page: &mut Page, status: &Status) {
    page.describe("tidegate_findings", "Findings of the last round.", "gauge");
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        let count = status.findings.iter().filter(|it| it.severity == severity).count();
        page.sample("tidegate_findings", &[("severity", &severity.to_string())], count);
    }
    page.describe("tidegate_plan_waiting", "Whether a plan waits at its gate.", "gauge");
    page.sample("tidegate_plan_waiting", &[], u8::from(status.plan.is_some()));
    page.describe("tidegate_recent_releases", "The latest 20 releases, by phase.", "gauge");
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for release in &status.releases {
        *phases.entry(word(&release.phase)).or_default() += 1;
    }
    for (phase, count) in phases {
        page.sample("tidegate_recent_releases", &[("phase", &phase)], count);
    }
    page.describe("tidegate_drift", "Objects that somebody else changed.", "gauge");
    page.sample("tidegate_drift", &[], status.drift.len());
    page.describe("tidegate_freezes", "Reasons for which nothing may start.", "gauge");
    page.sample("tidegate_freezes", &[], status.freezes.len());
    page.describe("tidegate_objects", "Objects of ours, by cluster.", "gauge");
    for (name, cluster) in &status.clusters {
        page.sample("tidegate_objects", &[("cluster", name)], cluster.objects);
    }
    page.describe("tidegate_cluster_gap", "1 when a cluster is not wholly observed.", "gauge");
    for (name, cluster) in &status.clusters {
        page.sample("tidegate_cluster_gap", &[("cluster", name)], u8::from(cluster.gap.is_some()));
    }
    page.describe("tidegate_zone_serial", "Serials of the zones that are served.", "gauge");
    for (name, serial) in &status.zones {
        page.sample("tidegate_zone_serial", &[("zone", name)], serial);
    }
    page.describe("tidegate_baseline_info", "What the site has reached.", "gauge");
    if let Some(baseline) = &status.baseline {
        let labels = [("digest", baseline.digest.as_str()), ("revision", &baseline.revision)];
        page.sample("tidegate_baseline_info", &labels, 1);
    }
    page.describe("tidegate_product_info", "Products of the baseline.", "gauge");
    for (product, version) in status.baseline.iter().flat_map(|baseline| &baseline.products) {
        page.sample("tidegate_product_info", &[("product", product), ("version", version)], 1);
    }
}

/// A closed choice as JSON writes it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn describe(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a text cannot fail.
        let _ok = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escape(value));
            let labels: Vec<_> = labels.iter().map(label).collect();
            let _ok = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ok = writeln!(self.0, " {value}");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample_of_a_described_metric() {
        let mut status = Status::default();
        status.clusters.insert("a\"b".to_owned(), crate::status::ClusterStatus::default());
        let counts = [Count { name: "tidegate_x_total", help: "X.", label: ("a", "b"), value: 3 }];
        let text = text(&status, &counts);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
        assert!(text.contains("tidegate_condition{condition=\"starting\"} 1"));
        assert!(text.contains("tidegate_objects{cluster=\"a\\\"b\"} 0"));
        assert!(text.contains("tidegate_x_total{a=\"b\"} 3"));
    }
}
