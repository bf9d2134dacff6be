//! Image references as containers take them: host, path, tag and digest; and where objects have them.

use serde_json::Value;

use crate::digest::Digest;
use crate::object::{Object, ObjectRef};

/// An image reference in its parts (the grammar of the distribution specification).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// The registry, with its port; `None` when the reference leaves it to the site.
    pub host: Option<&'a str>,
    /// The repository.
    pub path: &'a str,
    /// The tag.
    pub tag: Option<&'a str>,
    /// The digest, `sha256:…`.
    pub digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// Takes a reference apart; `None` when it is not written as one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if let Some(digest) = digest {
            let hex = digest.strip_prefix("sha256:")?;
            if hex.len() != 64 || !hex.chars().all(is_hex) {
                return None;
            }
        }
        let (host, rest) = match rest.split_once('/') {
            // Only what looks like a host is one: `iam/core` is a path (distribution reference, "domain").
            Some((first, path))
                if first.contains(['.', ':']) || first == "localhost" || first.starts_with('[') =>
            {
                (Some(first), path)
            }
            _ => (None, rest),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let whole = Self { host, path, tag, digest };
        (path.split('/').all(is_component) && tag.is_none_or(is_tag) && host.is_none_or(is_host))
            .then_some(whole)
    }

    /// Whether the reference may mean another image tomorrow: no digest, and no tag or `latest`.
    pub fn is_moving(&self) -> bool {
        self.digest.is_none() && self.tag.is_none_or(|tag| tag == "latest")
    }
}

/// The reference with the site's registry in front, unless it names its own.
pub fn qualify(text: &str, registry: Option<&str>) -> String {
    match (Image::parse(text), registry) {
        (Some(Image { host: None, .. }), Some(registry)) => {
            format!("{}/{text}", registry.trim_end_matches('/'))
        }
        _ => text.to_owned(),
    }
}

/// A reference without its digest, as people write it.
pub fn without_digest(text: &str) -> &str {
    text.split_once('@').map_or(text, |(plain, _)| plain)
}

/// A reference that is pinned, in its parts: what documents write, and the digest.
pub fn pinned(text: &str) -> Option<(String, Digest)> {
    let (plain, digest) = text.split_once('@')?;
    Some((plain.to_owned(), Digest::parse(digest)?))
}

/// A reference with only the start of its digest: enough for people, never for decisions.
pub fn short(text: &str) -> String {
    match text.split_once('@').map(|(plain, digest)| (plain, Digest::parse(digest))) {
        Some((plain, Some(digest))) => format!("{plain}@{}", digest.short()),
        _ => text.to_owned(),
    }
}

/// Where kinds of Kubernetes itself have the specification of their pods; `None` for kinds that have none, and for custom
/// kinds, whose fields mean what their operators say.
fn pod_specification(object: &ObjectRef) -> Option<&'static [&'static str]> {
    match (object.group.as_str(), object.kind.as_str()) {
        ("", "Pod") => Some(&["spec"]),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => Some(&["spec", "template", "spec"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        _ => None,
    }
}

/// Whether an object is of a kind whose images are known: see [`written_in`].
pub fn has_images(object: &ObjectRef) -> bool {
    pod_specification(object).is_some()
}

/// An image as it stands in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// Where, as differences show it: `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// What stands there.
    pub reference: String,
}

/// The images of the containers that an object of a kind of Kubernetes itself starts, those that run before the others
/// included. Images that are mounted as volumes are not among them.
pub fn written_in(object: &ObjectRef, body: &Object) -> Vec<Written> {
    let Some(steps) = pod_specification(object) else { return Vec::new() };
    let mut found = Vec::new();
    for list in ["initContainers", "containers"] {
        let pointer = format!("/{}/{list}", steps.join("/"));
        let containers = body.get(&pointer).and_then(Value::as_array);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let text = |field: &str| container.get(field).and_then(Value::as_str);
            let Some(image) = text("image") else { continue };
            let name = text("name").unwrap_or_default();
            found.push(Written {
                pointer: format!("{pointer}/{index}/image"),
                path: format!("{}.{list}[name={name}].image", steps.join(".")),
                reference: image.to_owned(),
            });
        }
    }
    found
}

fn is_component(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.chars().all(is_inner) && text.starts_with(is_edge) && text.ends_with(is_edge)
}

fn is_tag(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(is_first) && text.chars().all(is_inner)
}

fn is_host(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    !text.is_empty() && text.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("iam/iamcore:2.43.1", "r.hz.bank/iam/iamcore:2.43.1")]
    #[case("nginx", "r.hz.bank/nginx")]
    #[case("quay.io/a/b:1", "quay.io/a/b:1")]
    #[case("localhost:5000/a", "localhost:5000/a")]
    fn an_image_without_a_host_comes_from_the_registry(#[case] text: &str, #[case] wanted: &str) {
        assert_eq!(qualify(text, Some("r.hz.bank/")), wanted);
        assert_eq!(qualify(text, None), text);
    }

    #[rstest]
    #[case("")]
    #[case("A/b")]
    #[case("a//b")]
    #[case("a:")]
    #[case("a:b c")]
    #[case("a@sha256:12")]
    #[case("-a")]
    #[case("https://x/a:1")]
    fn what_is_not_written_as_an_image_is_none(#[case] text: &str) {
        assert_eq!(Image::parse(text), None);
    }

    #[test]
    fn kinds_of_kubernetes_have_images_at_known_places_and_custom_kinds_have_none_that_we_know() {
        let pod = json!({"initContainers": [{"name": "first", "image": "r.bank/a:1"}],
            "containers": [{"name": "web", "image": "r.bank/b:2"}, {"name": "bare"}]});
        let template = json!({"template": {"spec": pod.clone()}});
        let images = |version: &str, kind: &str, spec: &Value| {
            let body = Object::new(json!({"apiVersion": version, "kind": kind, "spec": spec}));
            let found = written_in(&body.reference("main"), &body);
            assert!(
                found.iter().all(|it| body.text(&it.pointer) == it.reference),
                "{kind}: {found:?}"
            );
            found.into_iter().map(|it| format!("{} {}", it.path, it.reference)).collect::<Vec<_>>()
        };
        let at = |steps: &str| {
            vec![
                format!("{steps}.initContainers[name=first].image r.bank/a:1"),
                format!("{steps}.containers[name=web].image r.bank/b:2"),
            ]
        };
        assert_eq!(images("v1", "Pod", &pod), at("spec"));
        for (version, kind) in [
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("apps/v1", "ReplicaSet"),
            ("batch/v1", "Job"),
            ("v1", "ReplicationController"),
        ] {
            assert_eq!(images(version, kind, &template), at("spec.template.spec"), "{kind}");
        }
        let job = json!({"jobTemplate": {"spec": template}});
        assert_eq!(images("batch/v1", "CronJob", &job), at("spec.jobTemplate.spec.template.spec"));
        assert_eq!(images("example.org/v1", "Deployment", &template), Vec::<String>::new());
        assert_eq!(images("v1", "ConfigMap", &pod), Vec::<String>::new());
    }

    #[test]
    fn a_digest_is_shortened_and_nothing_else() {
        let pinned = format!("r.bank/a/b:1.0@sha256:{}", "7".repeat(64));
        assert_eq!(short(&pinned), "r.bank/a/b:1.0@777777777777");
        assert_eq!(short("r.bank/a/b:1.0"), "r.bank/a/b:1.0");
        assert_eq!(without_digest(&pinned), "r.bank/a/b:1.0");
    }

    #[test]
    fn a_digest_never_moves_and_a_missing_tag_does() {
        let pinned = format!("a/b@sha256:{}", "0".repeat(64));
        assert!(!Image::parse(&pinned).unwrap().is_moving());
        assert!(!Image::parse("a/b:1").unwrap().is_moving());
        assert!(Image::parse("a/b").unwrap().is_moving());
        assert!(Image::parse("a/b:latest").unwrap().is_moving());
    }
}
