//! Changes put together for reading: by product and app, what is the same in several clusters only once.

use std::collections::BTreeMap;

use tidegate_schema::catalogue;
use tidegate_schema::finding::Lang;

use super::Style;
use super::label;
use super::value::harmless;
use crate::change::{Action, Change, ChangeSet, Effect, FieldChange, Shown};
use crate::live::Conflict;
use crate::object::ObjectRef;

/// Fields of a created or deleted object that are listed when not all are.
const FEW_FIELDS: usize = 8;

/// What changes of one app, product, role, grant or the site.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) entries: Vec<Entry>,
}

/// One object, or one that is the same in several clusters.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) action: Action,
    pub(super) object: String,
    pub(super) clusters: Vec<String>,
    pub(super) fields: Vec<FieldChange>,
    /// Fields that are not listed.
    pub(super) more_fields: usize,
    /// Lines that people should not miss: whether each is grave, and its text.
    pub(super) notes: Vec<(bool, String)>,
}

/// All sections: the site's own first, then by product and app.
pub(super) fn sections(changes: &ChangeSet, style: Style) -> Vec<Section> {
    type Title = (Option<String>, Option<String>, Option<String>);
    let mut groups: BTreeMap<Title, Vec<(&Change, Vec<String>)>> = BTreeMap::new();
    for change in &changes.changes {
        let owner = &change.owner;
        let title = (owner.product.clone(), owner.app.clone(), owner.access.clone());
        let own = groups.entry(title).or_default();
        match own.iter_mut().find(|(other, _)| is_same(other, change)) {
            Some((_, clusters)) => clusters.push(change.object.cluster.clone()),
            None => own.push((change, vec![change.object.cluster.clone()])),
        }
    }
    let section = |((product, app, access), changes): (Title, Vec<(&Change, Vec<String>)>)| {
        let title = match (product, app, access) {
            (_, _, Some(access)) => access,
            (Some(product), Some(app), None) => format!("{product}/{app}"),
            (Some(product), None, None) => product,
            (None, _, None) => label::pick(style.lang, "the site itself", "站点本身").to_owned(),
        };
        let entry = |(change, clusters)| entry(change, clusters, style);
        let mut entries: Vec<Entry> = changes.into_iter().map(entry).collect();
        entries
            .sort_by(|left, right| (left.action, &left.object).cmp(&(right.action, &right.object)));
        Section { title, entries }
    };
    let mut sections: Vec<Section> = groups.into_iter().map(section).collect();
    sections.extend(zones(changes));
    sections
}

/// Whether two changes differ in their cluster only.
fn is_same(left: &Change, right: &Change) -> bool {
    let bare = |object: &ObjectRef| ObjectRef { cluster: String::new(), ..object.clone() };
    bare(&left.object) == bare(&right.object)
        && left.action == right.action
        && left.confidence == right.confidence
        && left.drift == right.drift
        && left.fields == right.fields
        && left.conflicts == right.conflicts
        && left.kept == right.kept
        && left.warnings == right.warnings
        && left.effects == right.effects
}

fn entry(change: &Change, clusters: Vec<String>, style: Style) -> Entry {
    let is_listed = change.action == Action::Configure || style.is_full;
    let tells = |field: &&FieldChange| is_listed || !is_said_already(field);
    let fields: Vec<FieldChange> = change.fields.iter().filter(tells).cloned().collect();
    let shown = match change.action {
        Action::Configure | Action::Replace => fields.len(),
        Action::Create | Action::Prune if style.is_full => fields.len(),
        Action::Create => fields.len().min(FEW_FIELDS),
        // What goes away is named; its content is of interest only when asked for.
        Action::Prune | Action::Move | Action::Keep => 0,
    };
    let hides = change.action == Action::Create;
    Entry {
        action: change.action,
        object: harmless(&change.object.to_string()),
        clusters,
        more_fields: if hides { fields.len() - shown } else { 0 },
        fields: fields.into_iter().take(shown).collect(),
        notes: notes(change, style),
    }
}

/// Fields that repeat what the heading says.
fn is_said_already(field: &FieldChange) -> bool {
    matches!(field.path.as_str(), "apiVersion" | "kind" | "metadata.name" | "metadata.namespace")
        || field.path.starts_with("metadata.labels")
}

fn notes(change: &Change, style: Style) -> Vec<(bool, String)> {
    let lang = style.lang;
    let mut notes = Vec::new();
    if change.drift {
        let text =
            label::pick(lang, "changed by hand since we applied it", "自上次应用后被手工修改");
        notes.push((true, text.to_owned()));
    }
    for effect in &change.effects {
        notes.push((is_grave(effect), harmless(&label::effect(lang, effect))));
    }
    for conflict in &change.conflicts {
        let takes = label::pick(lang, "takes over", "接管");
        let from = label::pick(lang, "from", "原属");
        let who = manager(conflict);
        notes.push((true, harmless(&format!("{takes} {} ({from} {who})", conflict.field))));
    }
    for kept in &change.kept {
        let (field, who) = (&kept.field, manager(kept));
        let text = match lang {
            Lang::En => format!("{field} stays: also set by {who}"),
            Lang::Zh => format!("{field} 保留：{who} 也设置了它"),
        };
        notes.push((false, harmless(&text)));
    }
    if !change.webhooks.is_empty() {
        let names = change.webhooks.join(label::pick(lang, ", ", "、"));
        let text = match lang {
            Lang::En => format!("simulated: not asked yet, as it comes with this plan: {names}"),
            Lang::Zh => format!("模拟：随本计划一同创建或变更，尚未被询问：{names}"),
        };
        notes.push((false, harmless(&text)));
    } else if let Some(text) = label::confidence(lang, change.confidence) {
        notes.push((false, text.to_owned()));
    }
    notes.extend(change.warnings.iter().map(|text| (false, harmless(&warning(lang, text)))));
    notes
}

/// Another manager, and when it last wrote.
pub(super) fn manager(conflict: &Conflict) -> String {
    match &conflict.since {
        Some(since) => format!("{}, {since}", conflict.manager),
        None => conflict.manager.clone(),
    }
}

/// A warning: the server's own words, or one of ours by its code.
fn warning(lang: Lang, text: &str) -> String {
    let (code, rest) = text.split_once(": ").unwrap_or((text, ""));
    match catalogue::explain(code, lang) {
        Some(known) if rest.is_empty() => format!("{} ({code})", known.title),
        Some(known) => format!("{}: {rest} ({code})", known.title),
        None => label::reason(lang, text),
    }
}

fn is_grave(effect: &Effect) -> bool {
    match effect {
        Effect::VolumeLost
        | Effect::NamespaceLost { .. }
        | Effect::AddressChanges
        | Effect::GainsPermission { .. }
        | Effect::LosesPermission { .. } => true,
        Effect::PodsRestart { .. }
        | Effect::PodsScale { .. }
        | Effect::NoPodRestarts
        | Effect::TakesThePlaceOf { .. }
        | Effect::PlaceIsTakenBy { .. } => false,
    }
}

fn zones(changes: &ChangeSet) -> Vec<Section> {
    let set = |set: &crate::zone::RecordSet| {
        let text = format!("{} {}", set.ttl, set.values.join(" "));
        Shown::Value(serde_json::Value::String(text))
    };
    let field = |record: &crate::change::RecordDifference| {
        let one = record.after.as_ref().or(record.before.as_ref());
        FieldChange {
            path: one.map(|it| format!("{} {}", it.name, it.rtype)).unwrap_or_default(),
            before: record.before.as_ref().map(set),
            after: record.after.as_ref().map(set),
        }
    };
    let section = |zone: &crate::change::ZoneDifference| Section {
        title: harmless(&format!("DNS {}", zone.zone)),
        entries: vec![Entry {
            action: zone.action,
            object: harmless(&format!("Zone {}", zone.zone)),
            clusters: Vec::new(),
            fields: zone.records.iter().map(field).collect(),
            more_fields: 0,
            notes: Vec::new(),
        }],
    };
    changes.zones.iter().map(section).collect()
}

/// `4 to create, 2 to change, 17 unchanged`.
pub(super) fn summary(changes: &ChangeSet, style: Style) -> String {
    let lang = style.lang;
    let all = [
        Action::Create,
        Action::Configure,
        Action::Replace,
        Action::Move,
        Action::Prune,
        Action::Keep,
    ];
    let mut parts = Vec::new();
    for action in all {
        let objects = changes.changes.iter().filter(|change| change.action == action).count();
        let zones = changes.zones.iter().filter(|zone| zone.action == action).count();
        let count = objects + zones;
        if count > 0 {
            let word = label::action(lang, action);
            parts.push(match lang {
                Lang::En => format!("{count} to {word}"),
                Lang::Zh => format!("{word} {count}"),
            });
        }
    }
    let unchanged = label::pick(lang, "unchanged", "不变");
    parts.push(match lang {
        Lang::En => format!("{} {unchanged}", changes.unchanged),
        Lang::Zh => format!("{unchanged} {}", changes.unchanged),
    });
    parts.join(label::pick(lang, ", ", "，"))
}
