//! Tests of the printed forms.

use serde_json::json;
use tidegate_schema::finding::{Finding, Lang};

use super::value::{columns, cut, harmless};
use super::*;
use crate::change::{
    Action, Change, Confidence, Effect, FieldChange, ForeignFields, ObjectGap, Shown,
};
use crate::desired::{Layer, Owner, UnitId};
use crate::digest::Digest;
use crate::live::{Conflict, Gap};
use crate::object::ObjectRef;
use crate::plan::{
    Driver, Group, OnFailure, PlanContent, ReleaseKind, Risk, Rollout, Step, StepKind, Task,
    TaskKind, Wave,
};

fn change(cluster: &str, before: &str, after: &str) -> Change {
    Change {
        object: ObjectRef {
            cluster: cluster.to_owned(),
            group: "apps".to_owned(),
            kind: "StatefulSet".to_owned(),
            namespace: "iam".to_owned(),
            name: "iamcore".to_owned(),
        },
        action: Action::Configure,
        owner: Owner {
            solution: Some("platform".to_owned()),
            product: Some("iam".to_owned()),
            app: Some("iamcore".to_owned()),
            scaling_group: None,
            access: None,
            layer: Layer::Workload,
        },
        confidence: Confidence::Exact,
        drift: false,
        fields: vec![FieldChange {
            path: "spec.template.spec.containers[name=iamcore].image".to_owned(),
            before: Some(Shown::Value(json!(before))),
            after: Some(Shown::Value(json!(after))),
        }],
        stranger: None,
        conflicts: Vec::new(),
        kept: Vec::new(),
        warnings: Vec::new(),
        webhooks: Vec::new(),
        effects: vec![Effect::PodsRestart { pods: 6 }],
        live: None,
        predicted: None,
        desired: None,
    }
}

fn small_plan() -> Plan {
    let change_set = ChangeSet {
        changes: vec![change("room-a", "iam:1", "iam:2"), change("room-b", "iam:1", "iam:2")],
        unchanged: 17,
        ..ChangeSet::default()
    };
    let group = |pods, cumulative, confirm| Group { pods, cumulative, confirm, nodes: Vec::new() };
    let object = change_set.changes[0].object.clone();
    let step = Step {
        id: "gray/room-a/iam/iamcore".to_owned(),
        kind: StepKind::Rollout,
        cluster: "room-a".to_owned(),
        product: Some("iam".to_owned()),
        needs: Vec::new(),
        apply: vec![object.clone()],
        replace: Vec::new(),
        offline: Vec::new(),
        prune: Vec::new(),
        zones: Vec::new(),
        operations: Vec::new(),
        drain: None,
        rollout: Some(Rollout {
            unit: UnitId {
                cluster: "room-a".to_owned(),
                product: "iam".to_owned(),
                app: "iamcore".to_owned(),
            },
            workload: object,
            driver: Driver::StatefulSet,
            replicas_before: 6,
            replicas: 6,
            groups: vec![group(3, 3, true), group(3, 6, false)],
            bake_seconds: 60,
            on_failure: OnFailure::Pause,
            unattended: Vec::new(),
            checks: Vec::new(),
            autoscalers: Vec::new(),
        }),
        timeout_seconds: 600,
    };
    let task = Task {
        kind: TaskKind::Deploy,
        subject: "iam".to_owned(),
        app: Some("iamcore".to_owned()),
        scaling_group: None,
        clusters: vec!["room-a".to_owned(), "room-b".to_owned()],
        from: "1".to_owned(),
        to: "2".to_owned(),
        operation: None,
    };
    let wave = Wave {
        name: "gray".to_owned(),
        clusters: vec!["room-a".to_owned()],
        bake_seconds: 600,
        confirm: true,
        steps: vec![step],
    };
    Plan {
        revision: "c".repeat(40),
        authors: Vec::new(),
        content: PlanContent {
            site: "hangzhou".to_owned(),
            kind: ReleaseKind::Release,
            parent: None,
            desired: Digest::of(&1),
            policies: Digest::of(&2),
            clusters: std::collections::BTreeMap::new(),
            images: std::collections::BTreeMap::new(),
            tasks: vec![task],
            risks: std::collections::BTreeSet::from([Risk::ChangesParameters]),
            changes: change_set,
            waves: vec![wave],
        },
    }
}

fn with(base: Change, kind: &str, name: &str, action: Action) -> Change {
    let mut change = Change { action, ..base };
    change.object.kind = kind.to_owned();
    change.object.group = if kind == "StatefulSet" { "apps" } else { "" }.to_owned();
    change.object.name = name.to_owned();
    change.effects = Vec::new();
    change
}

fn field(path: &str, before: Option<Shown>, after: Option<Shown>) -> FieldChange {
    FieldChange { path: path.to_owned(), before, after }
}

/// One of everything that a difference may have.
fn rich_plan() -> (Plan, PlanReport) {
    let mut plan = small_plan();
    let base = || change("room-a", "iam:1", "iam:2");
    let value = |text: &str| Some(Shown::Value(json!(text)));
    let by = |field: &str, manager: &str| Conflict {
        field: field.to_owned(),
        manager: manager.to_owned(),
        since: Some("2026-11-26T08:00:00Z".to_owned()),
    };
    let mut map = with(base(), "ConfigMap", "settings", Action::Configure);
    let lines: Vec<String> = (0..9).map(|line| format!("line {line}")).collect();
    map.fields = vec![
        field(
            "data[\"app.conf\"]",
            value(&lines.join("\n")),
            value(&lines.join("\n").replace("line 4", "<b>4</b>")),
        ),
        field("metadata.labels.team", value("blue"), None),
    ];
    map.drift = true;
    map.conflicts = vec![by(".data.app\\.conf", "kubectl-edit")];
    map.kept = vec![by(".metadata.labels.tier", "operator")];
    map.effects = vec![Effect::NoPodRestarts];
    let mut secret = with(base(), "Secret", "db", Action::Configure);
    secret.fields = vec![
        field("data.password", Some(Shown::Secret(1)), Some(Shown::Secret(2))),
        field("data.repeated", None, Some(Shown::Secret(2))),
    ];
    let mut service = with(base(), "Service", "web", Action::Create);
    service.confidence = Confidence::Simulated;
    service.webhooks = vec!["ValidatingWebhookConfiguration guard".to_owned()];
    service.effects = vec![Effect::TakesThePlaceOf { object: "Service iam/front".to_owned() }];
    service.warnings = vec!["spec.externalIPs is deprecated".to_owned()];
    service.fields = (0..12)
        .map(|port| {
            field(
                &format!("spec.ports[port={port},protocol=TCP].port"),
                None,
                Some(Shown::Value(json!(port))),
            )
        })
        .collect();
    let mut replaced = with(base(), "StatefulSet", "store", Action::Replace);
    replaced.fields = vec![field("spec.serviceName", value("a"), value("b"))];
    replaced.effects = vec![Effect::PodsRestart { pods: 3 }];
    let mut namespace = with(base(), "Namespace", "old", Action::Prune);
    namespace.object.namespace = String::new();
    namespace.effects = vec![Effect::NamespaceLost { others: "2 ConfigMap, 1 Service".to_owned() }];
    let mut claim = with(base(), "PersistentVolumeClaim", "data", Action::Keep);
    claim.warnings = vec!["holds data".to_owned()];
    let successor = "PersistentVolumeClaim iam/files".to_owned();
    claim.effects = vec![Effect::PlaceIsTakenBy { object: successor }];
    let mut unverified = with(base(), "Service", "guarded", Action::Configure);
    unverified.confidence = Confidence::Unverified;
    unverified.warnings = vec!["CLUSTER/WEBHOOK_SILENT: guard.example".to_owned()];
    unverified.fields = vec![field("spec.type", value("ClusterIP"), value("LoadBalancer"))];
    unverified.effects = vec![Effect::AddressChanges];
    let mut moved = with(base(), "ServiceAccount", "web", Action::Move);
    moved.fields = Vec::new();
    let set = &mut plan.content.changes;
    set.changes.extend([map, secret, service, replaced, namespace, claim, unverified, moved]);
    set.changes.sort_by(|left, right| left.object.cmp(&right.object));
    set.foreign = vec![ForeignFields {
        object: set.changes[0].object.clone(),
        fields: vec![by(".spec.replicas", "hpa")],
    }];
    set.gaps = vec![ObjectGap {
        cluster: "room-b".to_owned(),
        object: None,
        gap: Gap { code: "CLUSTER/UNREACHABLE".to_owned(), message: "no route".to_owned() },
        refused: false,
    }];
    plan.content.risks.insert(Risk::Destructive);
    (plan, rich_report())
}

fn rich_report() -> PlanReport {
    PlanReport {
        findings: vec![
            Finding::warning("PLAN/CLUSTER_UNOBSERVED")
                .with("cluster", "room-b")
                .with("code", "CLUSTER/UNREACHABLE")
                .with("reason", "no route"),
        ],
        excluded: vec!["iam/beta".to_owned()],
        ..PlanReport::default()
    }
}

/// What a person or a program reads of the same plan, whole.
#[test]
fn the_forms_of_a_plan() {
    let (plan, report) = rich_plan();
    let style = Style { is_full: false, ..Style::default() };
    insta::assert_snapshot!("text", plan_text(&plan, &report, style));
    let style = Style { lang: Lang::Zh, ..Style::default() };
    insta::assert_snapshot!("text_zh", plan_text(&plan, &report, style));
    insta::assert_snapshot!("markdown", plan_markdown(&plan, &report, Lang::En, 60_000));
    insta::assert_snapshot!("html", without_look(&plan_html(&plan, &report, Lang::En)));
    insta::assert_snapshot!("html_zh", without_look(&plan_html(&plan, &report, Lang::Zh)));
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&plan.content.changes).unwrap());
}

/// A page without its style sheet, which is a file of its own.
fn without_look(page: &str) -> String {
    let (head, rest) = page.split_once("<style>").unwrap();
    format!("{head}{}", rest.split_once("</style>").unwrap().1)
}

#[test]
fn a_comment_says_what_could_not_be_observed() {
    let (plan, _) = rich_plan();
    let comment = changes_markdown(&plan.content.changes, Lang::En, 60_000);
    assert!(comment.contains("Could not be observed") && comment.contains("CLUSTER/UNREACHABLE"));
}

#[test]
fn a_page_is_whole_loads_nothing_and_runs_nothing() {
    let evil = "</del><script>alert(1)</script>\u{202e}\" onclick='x'";
    let (mut plan, report) = rich_plan();
    plan.content.site = evil.to_owned();
    plan.content.changes.changes.push(change("room-c", "iam:1", evil));
    let page = plan_html(&plan, &report, Lang::En);
    for forbidden in
        ["<script", "http:", "https:", "src=", "url(", "@import", " onclick='", "\u{202e}"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("default-src 'none'"));
    for field in 0..12 {
        assert!(page.contains(&format!("ports[port={field},protocol=TCP].port")), "every field");
    }
    let count = |part: &str| page.matches(part).count();
    for tag in ["details", "table", "ul", "ol", "section", "div", "li", "tr", "td", "th", "p"] {
        let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
        assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
    }
}

#[test]
fn a_plan_reads_calmly_in_english() {
    let plan = small_plan();
    let text = plan_text(&plan, &PlanReport::default(), Style::default());
    let expected = format!(
        "\
hangzhou · release · {}

What happens
  deploy  iam/iamcore  1 → 2  room-a, room-b

Look at first
  ! an upgrade changes parameters

In this order
  1. gray  (healthy for 10m, then a person confirms)
     iam/iamcore  6 pods in groups 3 ✓ · 3, bake 1m, a failure pauses  room-a
  ✓ a person confirms before it goes on

Changes

iam/iamcore
  ~ StatefulSet iam/iamcore  room-a, room-b
      · 6 pods restart
        spec.template.spec.containers[name=iamcore].image
          - iam:1
          + iam:2

2 to change, 17 unchanged

Tidegate-Plan: {}
",
        plan.id().short(),
        plan.id()
    );
    assert_eq!(text, expected);
}

#[test]
fn a_plan_reads_in_chinese_and_in_colour() {
    let style = Style { lang: Lang::Zh, has_colour: true, ..Style::default() };
    let text = plan_text(&small_plan(), &PlanReport::default(), style);
    for part in ["发布", "部署", "6 个 Pod重启", "修改 2", "\u{1b}[32m+ iam:2\u{1b}[0m"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_refusal_comes_first() {
    let report = PlanReport {
        findings: vec![
            Finding::error("PLAN/DOWNGRADE_REFUSED")
                .with("product", "iam")
                .with("from", "2.0.0")
                .with("to", "1.0.0"),
        ],
        ..PlanReport::default()
    };
    let plan = small_plan();
    let text = plan_text(&plan, &report, Style::default());
    assert!(!text.contains("Tidegate-Plan"), "a refused plan has nothing to approve");
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
    assert!(at("PLAN/DOWNGRADE_REFUSED") < at("What happens"));
    let comment = plan_markdown(&plan, &report, Lang::En, 60_000);
    assert!(!comment.contains("Tidegate-Plan"), "a refused plan has nothing to approve");
}

#[test]
fn a_comment_is_never_longer_than_allowed_and_says_what_is_missing() {
    let mut plan = small_plan();
    for index in 0..200 {
        let mut more = change("room-a", "a", "b");
        more.owner.app = Some(format!("app-{index}"));
        more.object.name = format!("app-{index}");
        plan.content.changes.changes.push(more);
    }
    for limit in [2_000, 10_000, 1_000_000] {
        let comment = plan_markdown(&plan, &PlanReport::default(), Lang::En, limit);
        assert!(comment.len() <= limit);
        assert!(comment.contains(plan.id().as_str()));
        assert_eq!(comment.contains("left out"), limit < 1_000_000);
    }
}

#[test]
fn values_cannot_steer_the_terminal_or_leave_the_code_block() {
    let evil = "\u{1b}[2J``` \u{202e}x\u{9b}";
    let mut plan = small_plan();
    plan.content.changes.changes = vec![change("room-a", "iam:1", evil)];
    let text = plan_text(&plan, &PlanReport::default(), Style::default());
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']));
    let comment = plan_markdown(&plan, &PlanReport::default(), Lang::En, 60_000);
    assert!(comment.contains("````diff\n") && !comment.contains('\u{202e}'));
}

#[test]
fn long_texts_show_only_the_lines_that_differ() {
    let lines: Vec<String> = (0..50).map(|line| format!("line {line}")).collect();
    let before = lines.join("\n");
    let after = before.replace("line 25\n", "line twenty-five\n");
    let set =
        ChangeSet { changes: vec![change("room-a", &before, &after)], ..ChangeSet::default() };
    let text = changes_text(&set, Style::default());
    assert!(text.contains("- line 25\n") && text.contains("+ line twenty-five\n"));
    assert!(text.contains("  line 24\n") && !text.contains("line 10\n"));
}

#[test]
fn nobody_can_write_a_value_that_reads_like_a_mask() {
    let mut masked = change("room-a", "a", "b");
    masked.fields[0].before = Some(Shown::Secret(1));
    masked.fields[0].after = Some(Shown::Value(json!("(secret 1)")));
    let set = ChangeSet { changes: vec![masked], ..ChangeSet::default() };
    let text = changes_text(&set, Style::default());
    assert!(text.contains("- (secret 1)\n") && text.contains("+ \"(secret 1)\"\n"), "{text}");
}

#[test]
fn who_else_has_a_field_is_told_with_the_time_and_our_remarks_in_words() {
    let by = |field: &str| Conflict {
        field: field.to_owned(),
        manager: "kubectl-edit".to_owned(),
        since: Some("2026-11-26T08:00:00Z".to_owned()),
    };
    let mut shared = change("room-a", "a", "b");
    shared.conflicts = vec![by(".spec.replicas")];
    shared.kept = vec![by(".metadata.labels.team")];
    shared.warnings = vec!["CLUSTER/WEBHOOK_SILENT: guard.example".to_owned()];
    let set = ChangeSet { changes: vec![shared], ..ChangeSet::default() };
    let text = changes_text(&set, Style { width: 50, ..Style::default() });
    assert!(
        text.contains("! takes over .spec.replicas (from kubectl-edit, 2026-11-26T08:00:00Z)\n")
    );
    let text = changes_text(&set, Style { width: 160, ..Style::default() });
    assert!(
        text.contains(
            ".metadata.labels.team stays: also set by kubectl-edit, 2026-11-26T08:00:00Z"
        )
    );
    assert!(text.contains("did not answer: guard.example (CLUSTER/WEBHOOK_SILENT)"), "{text}");
    let text = changes_text(&set, Style { lang: Lang::Zh, ..Style::default() });
    assert!(text.contains("准入 webhook 没有应答"), "{text}");
}

#[test]
fn widths_count_columns() {
    assert_eq!(columns("安装 ab"), 7);
    assert_eq!(cut("安装安装", 5), "安装…");
    assert_eq!(harmless("a\u{7}"), "a\\u{7}");
    assert_eq!(
        harmless("nginx\u{200b}:1\u{feff}"),
        "nginx\\u{200b}:1\\u{feff}",
        "what nobody sees"
    );
    assert_eq!(harmless("数据库 ❤\u{fe0f}"), "数据库 ❤\u{fe0f}");
}

#[test]
fn two_plans_show_what_somebody_who_read_the_first_has_not_read() {
    let before = small_plan();
    let mut after = small_plan();
    after.content.changes.changes[1].fields[0].after = Some(Shown::Value(json!("iam:3")));
    after.content.risks.insert(Risk::Destructive);
    let report = PlanReport::default();
    let compared = |after: &Plan| {
        let text = plans_compared((&before, &report), (after, &report), Style::default());
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.contains(" → "), "{first}");
        rest.to_owned()
    };
    let text = compared(&after);
    let differs: Vec<&str> = text.lines().filter(|line| line.starts_with(['+', '-'])).collect();
    assert!(differs.contains(&"+           + iam:3"), "{text}");
    assert!(differs.iter().any(|line| line.ends_with("! destructive")), "{text}");
    assert!(text.contains("StatefulSet iam/iamcore"), "below what it belongs to: {text}");
    assert!(!text.contains("Tidegate-Plan"), "{text}");
    assert_eq!(compared(&before), "\nIt is the same plan.\n");

    let mut unseen = small_plan();
    unseen.content.parent = Some(Digest::of_bytes(b"another baseline"));
    unseen.content.changes.changes[0].live = Some(Digest::of_bytes(b"touched"));
    let text = compared(&unseen);
    assert!(text.contains("the baseline: something was released in between"), "{text}");
    assert!(text.contains("somebody else changed StatefulSet iam/iamcore  room-a"), "{text}");
}
