//! From a method, a path and a query to what is asked.

use std::collections::BTreeMap;

use http::Method;

use crate::status::Refusal;

/// The query's parameters; of repeated ones the last counts, except for impersonation headers, which are not here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn read(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// A parameter; empty when absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether a parameter is there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a parameter says yes.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True")
            || (self.has(name) && self.get(name).is_empty())
    }
}

/// Undoes percent encoding; what is no valid encoding stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let pair = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
                let hex = std::str::from_utf8(&pair).ok();
                bytes.extend(hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz` and what is below them.
    Health,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`.
    Resources { group: String, version: String },
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiV3,
    /// `/openapi/v3/apis/GROUP/VERSION`.
    OpenApiV3Group { group: String, version: String },
    /// A resource, an object, or a subresource.
    Object(Place),
    /// Nothing that is served.
    Unknown,
}

/// Where a resource request points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// Behind `proxy`: what is asked of who answers.
    pub(crate) rest: String,
}

impl Place {
    /// The verb of the request, as RBAC names it.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> Result<&'static str, Refusal> {
        let is_named = !self.name.is_empty();
        Ok(match (method, is_named) {
            (&Method::GET, _) if query.is_true("watch") && self.subresource.is_empty() => "watch",
            (&Method::GET, true) => "get",
            (&Method::GET, false) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, true) => "update",
            (&Method::PATCH, true) => "patch",
            (&Method::DELETE, true) => "delete",
            (&Method::DELETE, false) => "deletecollection",
            _ => return Err(Refusal::method_not_allowed()),
        })
    }
}

/// Finds the target of a path.
pub(crate) fn route(path: &str) -> Target {
    let decoded: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["version"] => Target::Version,
        ["healthz" | "livez" | "readyz", ..] => Target::Health,
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3"] => Target::OpenApiV3,
        ["openapi", "v3", "api", version] => {
            Target::OpenApiV3Group { group: String::new(), version: (*version).to_owned() }
        }
        ["openapi", "v3", "apis", group, version] => {
            Target::OpenApiV3Group { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        ["api", version] => {
            Target::Resources { group: String::new(), version: (*version).to_owned() }
        }
        ["apis", group, version] => {
            Target::Resources { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        ["api", version, rest @ ..] => place("", version, rest),
        ["apis", group, version, rest @ ..] => place(group, version, rest),
        _ => Target::Unknown,
    }
}

fn place(group: &str, version: &str, rest: &[&str]) -> Target {
    let (namespace, rest) = match rest {
        // The subresources of a namespace itself.
        ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (*namespace, inner),
        _ => ("", rest),
    };
    let (resource, name, subresource, rest) = match rest {
        [resource] => (*resource, "", "", &[][..]),
        [resource, name] => (*resource, *name, "", &[][..]),
        [resource, name, "proxy", rest @ ..] => (*resource, *name, "proxy", rest),
        [resource, name, subresource] => (*resource, *name, *subresource, &[][..]),
        _ => return Target::Unknown,
    };
    Target::Object(Place {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        rest: rest.join("/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_objects_and_namespaces_are_told_from_their_content() {
        let Target::Object(place) = route("/apis/apps/v1/namespaces/shop/deployments/web/scale")
        else {
            panic!("no object")
        };
        assert_eq!(
            (
                place.namespace.as_str(),
                place.resource.as_str(),
                place.name.as_str(),
                place.subresource.as_str()
            ),
            ("shop", "deployments", "web", "scale")
        );
        let Target::Object(place) = route("/api/v1/namespaces/shop") else { panic!("no object") };
        assert_eq!((place.resource.as_str(), place.name.as_str()), ("namespaces", "shop"));
        let Target::Object(place) = route("/api/v1/namespaces/shop/status") else {
            panic!("no object")
        };
        assert_eq!((place.resource.as_str(), place.subresource.as_str()), ("namespaces", "status"));
        let Target::Object(place) = route("/api/v1/namespaces/shop/pods") else {
            panic!("no object")
        };
        assert_eq!((place.namespace.as_str(), place.name.as_str()), ("shop", ""));
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::read("labelSelector=app%20in%20%28a%2Cb%29&watch=true&x");
        assert_eq!(query.get("labelSelector"), "app in (a,b)");
        assert!(query.is_true("watch") && query.is_true("x") && !query.is_true("y"));
    }
}
