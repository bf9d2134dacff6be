//! What a plan says before its changes: tasks, risks, waves and groups, as lines.

use tidegate_schema::finding::Lang;

use super::Style;
use super::label;
use super::value::harmless;
use crate::plan::{Driver, Group, Plan, Rollout, Step, StepKind, Task, Wave};

/// What a task is about: `iam`, `iam/iamcore`, `iam (scaling group east)`.
pub(super) fn subject(task: &Task, lang: Lang) -> String {
    match (&task.app, &task.scaling_group) {
        (Some(app), _) => format!("{}/{app}", task.subject),
        (None, Some(group)) => {
            format!("{} ({} {group})", task.subject, label::pick(lang, "scaling group", "伸缩组"))
        }
        (None, None) => task.subject.clone(),
    }
}

/// One task: kind, what it is about, before and after, clusters.
pub(super) fn task(task: &Task, style: Style) -> [String; 4] {
    let subject = subject(task, style.lang);
    let by = task
        .operation
        .as_ref()
        .map(|name| format!(" ({} {name})", label::pick(style.lang, "operation", "运维")));
    let change = task.change() + &by.unwrap_or_default();
    let change = change.trim_start().to_owned();
    let kind = label::task(style.lang, task.kind).to_owned();
    [kind, harmless(&subject), harmless(&change), task.clusters.join(", ")]
}

/// What holds for a wave as a whole; empty when nothing is special.
pub(super) fn wave_note(wave: &Wave, style: Style) -> String {
    let lang = style.lang;
    let mut parts = Vec::new();
    if wave.bake_seconds > 0 {
        let bake = label::pick(lang, "healthy for", "健康");
        parts.push(format!("{bake} {}", label::seconds(wave.bake_seconds)));
    }
    if wave.confirm {
        parts.push(label::pick(lang, "then a person confirms", "随后人工确认").to_owned());
    }
    parts.join(label::pick(lang, ", ", "，"))
}

/// The steps of a wave for people: each app with its groups, the rest as one line by cluster.
pub(super) fn steps(wave: &Wave, style: Style) -> Vec<[String; 3]> {
    let mut lines: Vec<[String; 3]> = Vec::new();
    for step in &wave.steps {
        let (what, how) = step_words(wave, step, style);
        let same = lines.iter_mut().find(|line| line[0] == what && line[1] == how);
        match same {
            Some(line) if !step.cluster.is_empty() => {
                line[2].push_str(", ");
                line[2].push_str(&step.cluster);
            }
            Some(_) => {}
            None => lines.push([what, how, step.cluster.clone()]),
        }
    }
    lines
}

fn step_words(wave: &Wave, step: &Step, style: Style) -> (String, String) {
    let lang = style.lang;
    let head = format!("{}/{}/", wave.name, step.cluster);
    let what = step.id.strip_prefix(&head).unwrap_or(&step.id).to_owned();
    let objects = step.objects().count();
    let counted = |en: &str, zh: &str| match lang {
        Lang::En => {
            format!("{objects} {en}{}", if objects == 1 { "" } else { "s" })
        }
        Lang::Zh => format!("{objects} 个{zh}"),
    };
    let how = match (&step.kind, &step.rollout) {
        (StepKind::Zones, _) => step.zones.join(", "),
        (StepKind::Offline, _) => {
            let go = if objects == 1 { "goes offline" } else { "go offline" };
            let space = label::pick(lang, " ", "");
            format!("{}{space}{}", counted("workload", "工作负载"), label::pick(lang, go, "下线"))
        }
        (StepKind::Prune, _) => {
            format!("{} {}", label::pick(lang, "delete", "删除"), counted("object", "对象"))
        }
        (StepKind::Job(_), _) => label::pick(lang, "job", "任务").to_owned(),
        (_, Some(rollout)) => rollout_words(rollout, style),
        (StepKind::Objects(_) | StepKind::Rollout, None) => counted("object", "对象"),
    };
    (harmless(&what), harmless(&how))
}

/// `6 pods in groups of 3 ✓ 3, a failure pauses`: ✓ is where a person confirms.
fn rollout_words(rollout: &Rollout, style: Style) -> String {
    let lang = style.lang;
    let total = label::pods(lang, rollout.replicas);
    let how = label::driver(lang, rollout.driver);
    if rollout.groups.len() <= 1 && !rollout.groups.iter().any(|group| group.confirm) {
        let scale = if rollout.replicas_before == rollout.replicas || rollout.replicas_before == 0 {
            total
        } else {
            format!("{} → {total}", rollout.replicas_before)
        };
        let how = match rollout.driver {
            Driver::Restart => label::pick(lang, "restart at once", "一次重启"),
            Driver::Drain => label::pick(lang, "leave the node at once", "一次离开节点"),
            Driver::Whole | Driver::StatefulSet | Driver::Deployment | Driver::DaemonSet => how,
        };
        return format!("{scale} {how}");
    }
    let group = |group: &Group| {
        if group.confirm { format!("{} ✓", group.pods) } else { group.pods.to_string() }
    };
    let sizes: Vec<String> = rollout.groups.iter().map(group).collect();
    let failure = label::on_failure(lang, rollout.on_failure);
    let comma = label::pick(lang, ", ", "，");
    let bake = match rollout.bake_seconds {
        0 => String::new(),
        bake => format!("{comma}{} {}", label::pick(lang, "bake", "观察"), label::seconds(bake)),
    };
    format!("{total} {how} {}{bake}{comma}{failure}", sizes.join(" · "))
}

/// The line that approvals and commit messages carry.
pub(super) fn trailer(plan: &Plan) -> String {
    format!("Tidegate-Plan: {}", plan.id())
}

/// Whether any group or wave waits for a person, so that the mark needs a word.
pub(super) fn has_marks(plan: &Plan) -> bool {
    let rollouts = plan.steps().filter_map(|(_, step)| step.rollout.as_ref());
    rollouts.flat_map(|rollout| &rollout.groups).any(|group| group.confirm)
}
