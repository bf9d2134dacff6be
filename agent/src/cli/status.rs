//! `status`: how the site stands, calmly.

use jiff::Timestamp;
use owo_colors::{AnsiColors, OwoColorize as _};
use tidegate_core::plan::{Task, TaskKind};
use tidegate_core::progress::{ProductProgress, ProductState};
use tidegate_core::show::task_subject;
use tidegate_schema::finding::{Finding, Lang};

use super::asking::Asking;
use super::failure::{Failure, Outcome};
use super::printer::{GUTTER, Printer, columns, labelled, padded, table, wrapped};
use super::report::brief;
use crate::status::{Condition, Held, ReleaseStatus, Status, StepFailure, failure_finding};

const EXAMPLES: &str = "\
Examples:
  tidegate status --data ../site-agent              the agent of a data folder
  tidegate status --agent http://127.0.0.1:7480     an agent by its address
  tidegate status --format json | jq .condition     for programs";

/// Lines of a list before the rest is only counted.
const MOST: usize = 8;

/// Shows how the site stands: condition, plan and what it waits for, release, clusters, baseline.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let client = args.asking.client(printer)?;
    let status: Status = client.get("/api/v1/status").await?;
    if printer.is_json() {
        printer.json(&status);
    } else {
        for line in page(&status, printer.now(), printer) {
            printer.line(line);
        }
    }
    Ok(Outcome::Done)
}

/// A condition as people say it, with its colour.
pub(super) fn condition(condition: Condition, printer: &Printer) -> (&'static str, AnsiColors) {
    let (en, zh, colour) = match condition {
        Condition::Starting => ("starting", "启动中", AnsiColors::Default),
        Condition::Settled => ("settled", "已达期望", AnsiColors::Green),
        Condition::Waiting => ("waiting", "等待中", AnsiColors::Yellow),
        Condition::Releasing => ("releasing", "发布中", AnsiColors::Cyan),
        Condition::NeedsPerson => ("needs a person", "需要人工处理", AnsiColors::Red),
        Condition::Refused => ("refused", "已拒绝", AnsiColors::Red),
        Condition::Unreachable => ("unreachable", "不可达", AnsiColors::Red),
    };
    (printer.say(en, zh), colour)
}

/// Sections with a label at the left.
struct Page<'a> {
    printer: &'a Printer,
    lines: Vec<String>,
}

impl Page<'_> {
    /// A section; nothing when there are no lines.
    fn section(&mut self, en: &str, zh: &str, lines: Vec<String>) {
        let rest = lines.len().saturating_sub(MOST + 1);
        let shown = if rest > 0 { MOST } else { lines.len() };
        let lines = lines.into_iter().take(shown);
        self.lines.extend(labelled(self.printer.say(en, zh), lines));
        if rest > 0 {
            let more = match self.printer.lang {
                Lang::En => format!("… and {} more", rest + 1),
                Lang::Zh => format!("… 另有 {} 条", rest + 1),
            };
            self.lines.push(format!("{}{}", " ".repeat(GUTTER), more.dimmed()));
        }
    }
}

fn page(status: &Status, now: Timestamp, printer: &Printer) -> Vec<String> {
    let mut page = Page { printer, lines: Vec::new() };
    page.lines.push(head(status, now, printer));
    page.lines.push(String::new());
    page.section("Source", "代码库", source(status, printer));
    page.section("Frozen", "冻结", findings(&status.freezes, printer));
    page.section("Findings", "问题", findings(&status.findings, printer));
    if let Some(plan) = &status.plan {
        let mut lines =
            vec![format!("{}  {}", plan.id.short().cyan(), waves(&plan.waves, printer))];
        lines.extend(tasks(&plan.tasks, printer));
        page.section("Plan", "计划", lines);
        page.section("Refused", "拒绝", findings(&errors(&plan.findings), printer));
        page.section(
            "Held",
            "保持",
            plan.held.as_ref().map(|it| held(it, printer)).into_iter().collect(),
        );
        page.section("Waits for", "等待", findings(&plan.waits, printer));
    }
    release(&mut page, status, now);
    page.section("Drift", "漂移", drift(status));
    page.section("Orphaned", "遗留", orphans(status, now, printer));
    page.section("Clusters", "集群", clusters(status, printer));
    page.section("Zones", "域", zones(status, printer));
    page.section("Baseline", "基线", baseline(status, now, printer));
    page.lines
}

/// That a release took back what the branch still asks for, and where its documents are taken back.
pub(super) fn held(held: &Held, printer: &Printer) -> String {
    let short: String = held.revision.chars().take(12).collect();
    let Held { release, branch, .. } = held;
    match (branch, printer.lang) {
        (Some(branch), Lang::En) => {
            format!("{release} took {short} back; merge {branch} to take back its documents")
        }
        (Some(branch), Lang::Zh) => format!("{release} 已回退 {short}；合并 {branch} 可撤回其文档"),
        (None, Lang::En) => format!("{release} took {short} back; its documents are still there"),
        (None, Lang::Zh) => format!("{release} 已回退 {short}；其文档仍在"),
    }
}

fn errors(findings: &[Finding]) -> Vec<Finding> {
    findings.iter().filter(|finding| finding.is_error()).cloned().collect()
}

fn head(status: &Status, now: Timestamp, printer: &Printer) -> String {
    let (word, colour) = condition(status.condition, printer);
    let site = if status.site.is_empty() {
        printer.say("(no site yet)", "（尚无站点）")
    } else {
        &status.site
    };
    let left = format!("● {site}  {word}");
    let seen = status.updated_at.map(|at| ago(at, now, printer)).unwrap_or_default();
    let gap = printer.width.min(100).saturating_sub(columns(&left) + columns(&seen)).max(2);
    format!(
        "{} {}  {}{}{}",
        "●".color(colour),
        site.bold(),
        word.color(colour),
        " ".repeat(gap),
        seen.dimmed()
    )
}

fn source(status: &Status, printer: &Printer) -> Vec<String> {
    let source = &status.source;
    let mut lines = Vec::new();
    if let Some(revision) = &source.attempted {
        let is_accepted = source.accepted.as_deref() == Some(&revision.commit);
        let note =
            if is_accepted { "" } else { printer.say("  not accepted yet", "  尚未接受") };
        let subject = cut(&revision.subject, printer.width.saturating_sub(GUTTER + 34));
        let short = revision.short();
        lines.push(format!("{} {}  {subject}{}", source.branch, short.cyan(), note.yellow()));
    } else {
        lines.push(format!("{} {}", source.branch, source.url));
    }
    if let Some(problem) = &source.problem {
        lines.extend(findings(std::slice::from_ref(problem), printer));
    }
    lines
}

fn findings(findings: &[Finding], printer: &Printer) -> Vec<String> {
    findings
        .iter()
        .flat_map(|finding| {
            let lines = brief(finding, printer, GUTTER + 2);
            let place = finding.place.as_ref().map(|it| format!("{} ", it.dimmed()));
            let mark = if finding.is_error() {
                "✗".red().to_string()
            } else {
                "▸".yellow().to_string()
            };
            lines.into_iter().enumerate().map(move |(index, line)| match (index, &place) {
                (0, Some(place)) => format!("{mark} {place}{line}"),
                (0, None) => format!("{mark} {line}"),
                _ => format!("  {line}"),
            })
        })
        .collect()
}

fn waves(waves: &[String], printer: &Printer) -> String {
    let mut names: Vec<&str> = waves.iter().map(String::as_str).collect();
    names.dedup();
    let label = printer.say("waves", "批次");
    format!("{label} {}", names.join(" → ")).dimmed().to_string()
}

/// Why things change, one line each.
pub(super) fn tasks(tasks: &[Task], printer: &Printer) -> Vec<String> {
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            let subject = task_subject(task, printer.lang);
            let by = task.operation.as_ref();
            let by = by.map(|name| format!(" ({} {name})", printer.say("operation", "运维")));
            let change = task.change() + &by.unwrap_or_default();
            let change = change.trim_start().to_owned();
            let verb = verb(task.kind, printer).to_owned();
            vec![verb, subject, change, task.clusters.join(", ")]
        })
        .collect();
    let room = printer.width.saturating_sub(GUTTER);
    table(&rows).into_iter().map(|line| cut(&line, room)).collect()
}

/// What a task does, in a word or two.
pub(super) fn verb(kind: TaskKind, printer: &Printer) -> &'static str {
    let (en, zh) = match kind {
        TaskKind::Install => ("install", "安装"),
        TaskKind::Deploy => ("deploy", "部署"),
        TaskKind::ScaleOut => ("scale out", "扩容"),
        TaskKind::ScaleIn => ("scale in", "缩容"),
        TaskKind::Resize => ("resize", "变配"),
        TaskKind::Restart => ("restart", "重启"),
        TaskKind::TakeOffline => ("take offline", "下线"),
        TaskKind::BringOnline => ("bring online", "上线"),
        TaskKind::Test => ("test", "测试"),
        TaskKind::Run => ("run", "运行"),
        TaskKind::Apply => ("apply", "应用"),
        TaskKind::Prune => ("prune", "清理"),
        TaskKind::Grant => ("grant", "授权"),
        TaskKind::Revoke => ("revoke", "收回授权"),
        TaskKind::Expire => ("expire", "授权到期"),
        TaskKind::Resolve => ("resolve", "解析"),
        TaskKind::Unresolve => ("unresolve", "取消解析"),
        TaskKind::Correct => ("correct", "纠正"),
        TaskKind::Rollback => ("roll back", "回滚"),
        TaskKind::Cordon => ("cordon", "停止调度"),
        TaskKind::Uncordon => ("uncordon", "恢复调度"),
        TaskKind::Drain => ("drain", "排空"),
        TaskKind::Uninstall => ("uninstall", "卸载"),
    };
    printer.say(en, zh)
}

fn release(page: &mut Page<'_>, status: &Status, now: Timestamp) {
    let printer = page.printer;
    if let Some(release) = &status.release {
        let filled = release.done * 20 / release.steps.max(1);
        let bar = format!("{}{}", "━".repeat(filled).cyan(), "─".repeat(20 - filled).dimmed());
        let (phase, since) =
            (phase(release.row.phase, printer), ago(release.row.started_at, now, printer));
        let steps = match printer.lang {
            Lang::En => {
                format!("{} of {} steps", release.done, release.steps)
            }
            Lang::Zh => {
                format!("步骤 {}/{}", release.done, release.steps)
            }
        };
        let line = format!("{} {phase}  {bar}  {steps}  {}", release.row.id.bold(), since.dimmed());
        page.section("Release", "发布", vec![line]);
        page.section("Products", "产品", products(&release.products, printer));
        for failure in &release.failures {
            let finding = failure_finding(&failure.failure);
            let mut lines = vec![format!("{} {}", "✗".red(), failure.step)];
            lines.extend(
                brief(&finding, printer, GUTTER + 2).into_iter().map(|it| format!("  {it}")),
            );
            for pod in failure.failure.pods.iter().take(2) {
                lines.push(format!("  {}  {}", pod.pod, pod.reason.red()));
                // The log says what the program thought; without one, what Kubernetes did.
                if let Some(last) = pod.log.last().or(pod.events.last()) {
                    let room = printer.width.saturating_sub(GUTTER + 4);
                    lines.push(format!("    {}", cut(last, room).dimmed()));
                }
            }
            page.section("Failed", "失败", lines);
        }
        page.section("Waits for", "等待", findings(&waits(release), printer));
    } else if let Some(last) = status.releases.first() {
        let at = ago(last.ended_at.unwrap_or(last.started_at), now, printer);
        let line = format!("{} {}  {}", last.id.bold(), phase(last.phase, printer), at.dimmed());
        page.section("Last", "上次发布", vec![line]);
    }
}

/// How far a release of several products is: how many are where, and those that people look at now.
fn products(products: &[ProductProgress], printer: &Printer) -> Vec<String> {
    if products.len() < 2 {
        return Vec::new();
    }
    let count = |state| products.iter().filter(|it| it.state == state).count();
    let of = products.len();
    let parts = [
        (ProductState::Done, "done", "完成"),
        (ProductState::RolledBack, "rolled back", "已回退"),
        (ProductState::Cancelled, "cancelled", "已取消"),
        (ProductState::UnderWay, "under way", "进行中"),
        (ProductState::Failed, "failed", "失败"),
        (ProductState::ToCome, "to come", "待开始"),
    ];
    let told = parts.into_iter().filter(|(state, ..)| count(*state) > 0);
    let told = told.map(|(state, en, zh)| match printer.lang {
        Lang::En => format!("{} {en}", count(state)),
        Lang::Zh => format!("{zh} {}", count(state)),
    });
    let told = told.collect::<Vec<_>>().join(" · ");
    let first = match printer.lang {
        Lang::En => format!("{of}: {told}"),
        Lang::Zh => format!("共 {of}：{told}"),
    };
    let open = products
        .iter()
        .filter(|it| matches!(it.state, ProductState::UnderWay | ProductState::Failed));
    let lines = open.map(|it| {
        let mark = if it.state == ProductState::Failed {
            "✗".red().to_string()
        } else {
            "▸".cyan().to_string()
        };
        let name = if it.product.is_empty() {
            printer.say("the site itself", "站点自身")
        } else {
            &it.product
        };
        let steps = match printer.lang {
            Lang::En => format!("{} of {} steps", it.done, it.steps),
            Lang::Zh => format!("步骤 {}/{}", it.done, it.steps),
        };
        format!("{mark} {}  {}", padded(name, 24), steps.dimmed())
    });
    std::iter::once(first).chain(lines).collect()
}

/// What a release waits for, without that a step failed: its failure is told by itself.
pub(super) fn waits(release: &ReleaseStatus) -> Vec<Finding> {
    let is_told = |wait: &&Finding| {
        let is_of = |failed: &StepFailure| {
            let args = &wait.args;
            args.get("step") == Some(&failed.step)
                && args.values().any(|it| *it == failed.failure.code)
        };
        release.failures.iter().any(is_of)
    };
    release.waits.iter().filter(|wait| !is_told(wait)).cloned().collect()
}

/// A phase as people say it.
pub(super) fn phase(phase: tidegate_core::release::ReleasePhase, printer: &Printer) -> String {
    use tidegate_core::release::ReleasePhase as Phase;

    let (en, zh, colour) = match phase {
        Phase::Running => ("running", "进行中", AnsiColors::Cyan),
        Phase::Paused => ("paused", "已暂停", AnsiColors::Yellow),
        Phase::Failed => ("failed", "失败", AnsiColors::Red),
        Phase::RollingBack => ("rolling back", "回滚中", AnsiColors::Yellow),
        Phase::Done => ("done", "成功", AnsiColors::Green),
        Phase::RolledBack => ("rolled back", "已回滚", AnsiColors::Yellow),
        Phase::Cancelled => ("cancelled", "已取消", AnsiColors::Default),
        Phase::Superseded => ("superseded", "已被取代", AnsiColors::Default),
    };
    printer.say(en, zh).color(colour).to_string()
}

fn drift(status: &Status) -> Vec<String> {
    let line = |change: &tidegate_core::change::Change| {
        let fields: Vec<&str> = change.fields.iter().map(|it| it.path.as_str()).take(3).collect();
        format!("{} {}  {}", "▸".yellow(), change.object, fields.join(", ").dimmed())
    };
    status.drift.iter().map(line).collect()
}

/// What was kept of products that are gone, by product and cluster.
fn orphans(status: &Status, now: Timestamp, printer: &Printer) -> Vec<String> {
    let room = printer.width.saturating_sub(GUTTER);
    let rows = status.orphans.iter().map(|orphan| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let product = format!("{} {}", part(&orphan.product), part(&orphan.version));
        let since = orphan.since.map(|at| ago(at, now, printer)).unwrap_or_default();
        let (cluster, object) = (orphan.object.cluster.clone(), orphan.object.to_string());
        vec![cluster, object, part(&orphan.size), product.trim_end().to_owned(), since]
    });
    table(&rows.collect::<Vec<_>>()).into_iter().map(|line| cut(&line, room)).collect()
}

fn clusters(status: &Status, printer: &Printer) -> Vec<String> {
    let rows: Vec<Vec<String>> = status
        .clusters
        .iter()
        .map(|(name, cluster)| {
            let version = cluster.version.clone().unwrap_or_default();
            let objects = match printer.lang {
                Lang::En => format!("{} objects", cluster.objects),
                Lang::Zh => format!("{} 个对象", cluster.objects),
            };
            let note = if cluster.is_sandbox { printer.say("simulated", "模拟") } else { "" };
            vec![name.clone(), version, objects, note.to_owned()]
        })
        .collect();
    let mut lines = Vec::new();
    for (line, cluster) in table(&rows).into_iter().zip(status.clusters.values()) {
        let mark =
            if cluster.gap.is_some() { "✗".red().to_string() } else { "✓".green().to_string() };
        lines.push(format!("{mark} {line}"));
        if let Some(gap) = &cluster.gap {
            let room = printer.width.saturating_sub(GUTTER + 4);
            for line in wrapped(&format!("{}: {}", gap.code, gap.message), room) {
                lines.push(format!("    {}", line.red()));
            }
        }
    }
    lines
}

fn zones(status: &Status, printer: &Printer) -> Vec<String> {
    let rows: Vec<Vec<String>> = status
        .zones
        .iter()
        .map(|(name, serial)| {
            let serial = match serial {
                0 => printer.say("forwarded", "转发").to_owned(),
                serial => format!("{} {serial}", printer.say("serial", "序列号")),
            };
            vec![name.clone(), serial]
        })
        .collect();
    table(&rows)
}

fn baseline(status: &Status, now: Timestamp, printer: &Printer) -> Vec<String> {
    let Some(baseline) = &status.baseline else {
        return vec![printer.say("nothing delivered yet", "尚未交付").dimmed().to_string()];
    };
    let revision = baseline.revision.get(..12).unwrap_or(&baseline.revision);
    let at = ago(baseline.recorded_at, now, printer);
    let mut lines =
        vec![format!("{}  {revision}  {}", baseline.digest.short().cyan(), at.dimmed())];
    let products: Vec<String> =
        baseline.products.iter().map(|(name, version)| format!("{name}\u{a0}{version}")).collect();
    let room = printer.width.saturating_sub(GUTTER);
    lines.extend(wrapped(&products.join(", "), room));
    lines.retain(|line| !line.is_empty());
    lines
}

/// How long ago something was, as people say it.
pub(super) fn ago(at: Timestamp, now: Timestamp, printer: &Printer) -> String {
    let seconds = now.duration_since(at).as_secs();
    if seconds < 10 {
        return printer.say("just now", "刚刚").to_owned();
    }
    lasting(seconds, printer) + printer.say(" ago", "前")
}

/// Seconds in the unit that people would use.
pub(super) fn lasting(seconds: i64, printer: &Printer) -> String {
    let (count, en, zh) = match seconds {
        ..120 => (seconds.max(0), "s", "秒"),
        120..7200 => (seconds / 60, "min", "分钟"),
        7200..172_800 => (seconds / 3600, "h", "小时"),
        _ => (seconds / 86_400, "days", "天"),
    };
    match printer.lang {
        Lang::En => format!("{count} {en}"),
        Lang::Zh => format!("{count} {zh}"),
    }
}

/// A text cut to a number of columns.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for letter in text.chars() {
        if columns(&out) + columns(&letter.to_string()) + 1 > width {
            break;
        }
        out.push(letter);
    }
    out.push('…');
    out
}
