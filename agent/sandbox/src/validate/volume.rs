//! The rules of volumes: those of pods, those of the cluster, and the claims between them.
//!
//! Absent: the rules of the sources of single vendors.

use std::collections::BTreeSet;

use super::place::Place;
use crate::quantity;
use crate::status::Cause;

const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The volumes of a pod; gives their names.
pub(super) fn of_pod<'a>(volumes: &Place<'a>, causes: &mut Vec<Cause>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for volume in volumes.each() {
        let name = volume.at("name");
        if name.is_empty() {
            causes.push(name.missing(""));
        } else {
            name.label(causes);
            if !names.insert(name.text()) {
                causes.push(name.duplicate());
            }
        }
        if let Some(source) = one_source(&volume, &["name"], causes) {
            of_kind(&source, causes);
        }
    }
    names
}

/// In this order the real server looks at them; others come after these.
const ORDER: [&str; 8] = [
    "emptyDir",
    "hostPath",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
];

/// The first source; all beyond it are too many.
fn one_source<'a>(
    volume: &Place<'a>,
    beside: &[&str],
    causes: &mut Vec<Cause>,
) -> Option<Place<'a>> {
    let fields = volume.value.as_object().into_iter().flatten();
    let mut names: Vec<&String> = fields
        .filter(|(name, source)| source.is_object() && !beside.contains(&name.as_str()))
        .map(|(name, _)| name)
        .collect();
    names.sort_by_key(|name| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    let mut names = names.into_iter();
    let first = names.next();
    for more in names {
        causes.push(volume.at(more).forbidden("may not specify more than 1 volume type"));
    }
    first.map(|name| volume.at(name))
}

fn of_kind(source: &Place<'_>, causes: &mut Vec<Cause>) {
    match source.path.rsplit('.').next().unwrap_or_default() {
        "emptyDir" => {
            let size = source.at("sizeLimit");
            if quantity::milli(size.text()).is_some_and(|size| size < 0) {
                causes.push(size.forbidden("SizeLimit field must be a valid resource quantity"));
            }
        }
        "secret" => {
            source.at("secretName").required(causes);
            files(source, causes);
        }
        "configMap" => {
            source.at("name").required(causes);
            files(source, causes);
        }
        "persistentVolumeClaim" => source.at("claimName").required(causes),
        "csi" => driver(source, causes),
        "downwardAPI" => {
            mode(source, "defaultMode", causes);
            for item in source.at("items").each() {
                of_downward(source, &item, causes);
            }
        }
        "projected" => {
            mode(source, "defaultMode", causes);
            for part in source.at("sources").each() {
                projection(&part, causes);
            }
        }
        _ => host_or_network(source, causes),
    }
}

fn driver(source: &Place<'_>, causes: &mut Vec<Cause>) {
    let name = serde_json::Value::from(source.at("driver").text());
    let name = Place::new(&name, source.path_of("driver"));
    name.required(causes);
    name.subdomain(causes);
}

fn projection(part: &Place<'_>, causes: &mut Vec<Cause>) {
    for kind in ["secret", "configMap"].into_iter().filter(|kind| part.has(kind)) {
        part.at(kind).at("name").required(causes);
        files(&part.at(kind), causes);
    }
    if part.has("serviceAccountToken") {
        part.at("serviceAccountToken").at("path").required(causes);
    }
}

/// The sources that volumes of pods and of the cluster share.
fn host_or_network(source: &Place<'_>, causes: &mut Vec<Cause>) {
    let path = source.at("path");
    match source.path.rsplit('.').next().unwrap_or_default() {
        "hostPath" => {
            path.required(causes);
            path.path_forwards(causes);
            source.at("type").choice(
                &[
                    "",
                    "BlockDevice",
                    "CharDevice",
                    "Directory",
                    "DirectoryOrCreate",
                    "File",
                    "FileOrCreate",
                    "Socket",
                ],
                causes,
            );
        }
        "nfs" => {
            source.at("server").required(causes);
            path.required(causes);
            if !path.is_empty() && !path.text().starts_with('/') {
                causes.push(path.invalid("must be an absolute path"));
            }
        }
        _ => {}
    }
}

/// The files that keys become.
fn files(source: &Place<'_>, causes: &mut Vec<Cause>) {
    mode(source, "defaultMode", causes);
    for item in source.at("items").each() {
        item.at("key").required(causes);
        item.at("path").required(causes);
        item.at("path").path_below(causes);
        mode(&item, "mode", causes);
    }
}

fn mode(source: &Place<'_>, name: &str, causes: &mut Vec<Cause>) {
    let mode = source.at(name);
    if mode.integer().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        causes.push(mode.invalid("must be a number between 0 and 0777 (octal), both inclusive"));
    }
}

/// A file that tells of the pod. The real server leaves the entry out of the path.
fn of_downward(source: &Place<'_>, item: &Place<'_>, causes: &mut Vec<Cause>) {
    const FIELDS: [&str; 5] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
    ];
    let path = Place::new(item.at("path").value, source.path_of("path"));
    path.required(causes);
    path.path_below(causes);
    if item.has("fieldRef") {
        let field = item.at("fieldRef");
        let field = Place::new(field.value, source.path_of("fieldRef")).at("fieldPath");
        field.required(causes);
        field.choice(&FIELDS, causes);
    }
}

/// A claim.
pub(super) fn claim(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let modes = spec.at("accessModes");
    if modes.is_empty() {
        causes.push(modes.missing("at least 1 access mode is required"));
    }
    access_modes(&modes, causes);
    spec.at("selector").selector(causes);
    let asked = spec.at("resources").at("requests").at("storage");
    let place = spec.path_of("resources[storage]");
    match quantity::milli(asked.text()) {
        None => causes.push(Cause::required(place, "")),
        Some(size) if size <= 0 => {
            causes.push(Cause::invalid(place, asked.value, "must be greater than zero"));
        }
        Some(_) => {}
    }
    storage_class(spec, causes);
}

fn access_modes(modes: &Place<'_>, causes: &mut Vec<Cause>) {
    for mode in modes.each().filter(|mode| !ACCESS_MODES.contains(&mode.text())) {
        causes.push(Cause::unsupported(modes.path.as_str(), mode.value, &ACCESS_MODES));
    }
}

fn storage_class(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let class = spec.at("storageClassName");
    if !class.is_empty() {
        class.subdomain(causes);
    }
    spec.at("volumeMode").choice(&["Block", "Filesystem"], causes);
}

/// A volume of the cluster.
pub(super) fn of_cluster(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    const BESIDE: [&str; 3] = ["capacity", "claimRef", "nodeAffinity"];
    let modes = spec.at("accessModes");
    modes.required(causes);
    access_modes(&modes, causes);
    let capacity = spec.at("capacity");
    capacity.required(causes);
    if !capacity.has("storage") || capacity.value.as_object().is_some_and(|sizes| sizes.len() > 1) {
        causes.push(capacity.unsupported(&["storage"]));
    }
    for (_, size) in capacity.entries() {
        if quantity::milli(size.text()).is_some_and(|size| size <= 0) {
            causes.push(size.invalid("must be greater than zero"));
        }
    }
    match one_source(spec, &BESIDE, causes) {
        None => causes.push(spec.missing("must specify a volume type")),
        Some(source) if source.path == "spec.csi" => {
            driver(&source, causes);
            source.at("volumeHandle").required(causes);
        }
        Some(source) => host_or_network(&source, causes),
    }
    if spec.has("local") {
        spec.at("local").at("path").required(causes);
        if !spec.has("nodeAffinity") {
            causes.push(spec.at("nodeAffinity").missing("Local volume requires node affinity"));
        }
    }
    let policy = spec.at("persistentVolumeReclaimPolicy");
    policy.choice(&["Delete", "Recycle", "Retain"], causes);
    if policy.text() == "Recycle" && spec.at("hostPath").at("path").text() == "/" {
        causes.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
    }
    storage_class(spec, causes);
}
