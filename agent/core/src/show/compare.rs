//! Two plans compared: what somebody who has read the one has not read of the other.

use std::collections::BTreeMap;

use similar::{ChangeTag, TextDiff};

use super::Style;
use super::label::pick;
use super::text::{self, Ink, Paper};
use crate::change::Change;
use crate::object::ObjectRef;
use crate::plan::{Plan, PlanReport};

/// Lines that stay around a difference.
const CONTEXT: usize = 1;

/// The lines that differ, each below the headings that it belongs to; then what differs without being read.
pub(super) fn plans(
    paper: &mut Paper,
    before: (&Plan, &PlanReport),
    after: (&Plan, &PlanReport),
    style: Style,
) {
    let lang = style.lang;
    let (old, new) = (before.0.id(), after.0.id());
    paper.whole(0, Ink::Heading, &format!("{} → {}", old.short(), new.short()));
    if old == new {
        paper.gap();
        paper.whole(0, Ink::Plain, pick(lang, "It is the same plan.", "是同一个计划。"));
        return;
    }
    let written = |(plan, report)| {
        let plain = Style { has_colour: false, is_full: true, ..style };
        let mut paper = Paper::new(plain);
        text::plan(&mut paper, plan, report);
        let text = paper.finish();
        // The ids are said above.
        let is_id = |line: &&str| line.starts_with("Tidegate-Plan:");
        text.lines().skip(1).filter(|line| !is_id(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    let (old, new) = (written(before), written(after));
    let (old_lines, new_lines) = (lines(&old), lines(&new));
    let diff = TextDiff::from_slices(&old_lines, &new_lines);
    let mut told = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value();
            if line.is_empty() {
                continue;
            }
            let (all, index) = match change.tag() {
                ChangeTag::Delete => (&old_lines, change.old_index()),
                ChangeTag::Insert | ChangeTag::Equal => (&new_lines, change.new_index()),
            };
            for above in above(all, index.unwrap_or_default()) {
                if !told.contains(&above) {
                    told.push(above);
                    paper.whole(2, Ink::Faint, above);
                }
            }
            told.push(line);
            match change.tag() {
                ChangeTag::Delete => paper.whole(0, Ink::Removed, &format!("- {line}")),
                ChangeTag::Insert => paper.whole(0, Ink::Added, &format!("+ {line}")),
                ChangeTag::Equal => paper.whole(2, Ink::Faint, line),
            }
        }
        told.clear();
    }
    let unseen = unseen(before.0, after.0, style);
    if !unseen.is_empty() {
        paper.heading(pick(lang, "Not to be read above", "上文中看不到的"));
        for line in unseen {
            paper.whole(2, Ink::Plain, &line);
        }
    }
}

fn lines(text: &[String]) -> Vec<&str> {
    text.iter().map(String::as_str).collect()
}

/// The lines above one that are indented less, from the outside in: the section, the app, the object.
fn above<'a>(lines: &[&'a str], index: usize) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut least = lines.get(index).map_or(0, |line| indent(line));
    let mut found = Vec::new();
    for line in lines.iter().take(index).rev().filter(|line| !line.is_empty()) {
        if indent(line) < least {
            least = indent(line);
            found.push(*line);
        }
    }
    found.reverse();
    found
}

/// What a digest covers and no text shows.
fn unseen(before: &Plan, after: &Plan, style: Style) -> Vec<String> {
    let lang = style.lang;
    let (old, new) = (&before.content, &after.content);
    let mut lines = Vec::new();
    let mut say = |differs: bool, en: &'static str, zh: &'static str| {
        if differs {
            lines.push(pick(lang, en, zh).to_owned());
        }
    };
    say(
        old.parent != new.parent,
        "the baseline: something was released in between",
        "基线：其间有其他发布",
    );
    say(
        old.policies != new.policies,
        "policies, persons, groups or service accounts",
        "策略、人员、组或服务账号",
    );
    say(
        old.clusters.iter().any(|(name, uid)| new.clusters.get(name).is_some_and(|it| it != uid)),
        "a cluster was exchanged behind its name",
        "同名集群已被替换",
    );
    let (old, new) = (by_object(before), by_object(after));
    for (object, before) in old {
        let Some(after) = new.get(object) else { continue };
        let looks_same = before.fields == after.fields && before.action == after.action;
        if looks_same && (&before.live, &before.predicted) != (&after.live, &after.predicted) {
            let what = pick(lang, "somebody else changed", "他人改动了");
            lines.push(format!("{what} {object}  {}", object.cluster));
        }
    }
    lines
}

fn by_object(plan: &Plan) -> BTreeMap<&ObjectRef, &Change> {
    plan.content.changes.changes.iter().map(|change| (&change.object, change)).collect()
}
