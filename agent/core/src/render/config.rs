//! Files of apps as `ConfigMap`s.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::desired::Layer;
use crate::digest::Digest;
use crate::render::scope::{Draft, Part, Scope};
use crate::site::PlacedApp;

/// The name of the ConfigMap of an app's files. It carries a digest of the content, so that pods of the old revision
/// keep their files while groups are open, even when they start anew.
pub(super) fn name(app: &PlacedApp) -> Option<String> {
    if app.files.is_empty() {
        return None;
    }
    let digest = Digest::of(&app.files);
    let short = digest.short().get(..8).unwrap_or_default().to_owned();
    Some(format!("{}-files-{short}", app.app.name))
}

/// The ConfigMap of an app's files.
pub(super) fn config_map<'a>(scope: &'a Scope<'a>, app: &'a PlacedApp) -> Option<Draft<'a>> {
    let part = Part {
        api_version: "v1",
        kind: "ConfigMap",
        name: name(app)?,
        app: app.app.name.as_str(),
        member: app.member.as_ref(),
        component: "config",
    };
    Some(scope.object(part, Layer::Support, &app.place, || {
        let data: BTreeMap<String, &String> =
            app.files.iter().map(|(path, content)| (key(path), content)).collect();
        json!({"data": data, "immutable": true})
    }))
}

/// Where the files are mounted: each alone, so that what else the image has in the folder stays.
pub(super) fn mounts(app: &PlacedApp) -> Vec<Value> {
    let mount = |path: &String| json!({"name": "files", "mountPath": path, "subPath": key(path), "readOnly": true});
    app.files.keys().map(mount).collect()
}

/// The key of a file in the ConfigMap: its path with dots, in the characters that keys may have.
pub(crate) fn key(path: &str) -> String {
    let allowed = |c: char| match c {
        '/' => '.',
        c if c.is_ascii_alphanumeric() || "._-".contains(c) => c,
        _ => '-',
    };
    path.trim_matches('/').chars().map(allowed).collect()
}
