//! The kinds `Product` and `ProductVersion`: what can be delivered. The apps are in [`crate::app`].

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    app::App,
    scalar::{Duration, Name, PortReference, Quantity, Text},
};

/// The smallest unit offered to a customer. Its versions are documents of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Product {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// What it is for, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
    /// Who answers for it: persons or groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Name>,
    /// Whether the first installation of a whole site takes it (YL-080).
    #[serde(default)]
    pub maturity: Maturity,
}

/// How far a product has proved itself (YG-17).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Maturity {
    /// Proved: part of the first installation of a site.
    Mature,
    /// On trial: installed by a plan of its own after the first installation of a site, unless the solution says otherwise.
    #[default]
    Trial,
}

/// One immutable release of a product. `metadata.name` is the product's name.
///
/// The agent remembers the version's digest and refuses another content under the same number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductVersion {
    /// The version, by semver.org.
    #[schemars(with = "String", extend("format" = "semver"))]
    pub version: semver::Version,
    /// What is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Text>,
    /// Products that must be there before, and at which versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// The versions that may be upgraded to this one directly, such as `>=2.40`. Default: all lower ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "semver-requirement"))]
    pub upgrades_from: Option<semver::VersionReq>,
    /// The inputs that it declares. A value for anything else is a finding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterDeclaration>,
    /// Values for the products that require this one: templates see them as `products.<name>.<key>`.
    /// They are templates themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub publishes: BTreeMap<String, String>,
    /// Its programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<App>,
    /// How its apps are reached from outside the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_balancers: Vec<LoadBalancer>,
    /// The database schemas that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<Database>,
    /// Files of plain Kubernetes objects (globs, relative to this document's folder), for what an app
    /// cannot say. They are templates, like all else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<String>,
    /// Files of plain Kubernetes objects (globs) that are taken as they are, braces included: what
    /// somebody else publishes. Where both match a file, this one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbatim_manifests: Vec<String>,
    /// How objects of kinds that are not Kubernetes' own are judged, where `Ready`, `Stalled` and `Reconciling` of their
    /// status do not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRule>,
    /// Fields of custom resources that hold secrets, where their definition does not say so (`format: password`). They are
    /// masked in whatever is shown and kept, in all objects of the kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_fields: Vec<SecretFields>,
    /// The ways to deploy it. Default: one with every app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topologies: Vec<Topology>,
    /// How many instances of each app, and how large. Default: one of each, without limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
}

/// When objects of a kind are healthy: expressions in CEL (cel.dev) that see the object as `object`. What cannot be worked
/// out, such as a field that is not there yet, says that the object is on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthRule {
    /// The API group of the kind, such as `kafka.strimzi.io`.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// When it is on its way, such as `object.status.phase == 'Creating'`. Asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressing: Option<String>,
    /// When it has failed and will not get well by waiting. Asked second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// When it is healthy. Default: when it is neither on its way nor failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<String>,
}

/// Fields of a kind that hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretFields {
    /// The API group of the kind, such as `ops.example.org`.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// Their paths, such as `spec.password`; `[*]` is each element of a list: `spec.users[*].password`.
    #[schemars(length(min = 1))]
    pub fields: Vec<String>,
}

/// Another product that must be there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The product.
    pub product: Name,
    /// Its versions, such as `>=8.0, <9`. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "semver-requirement"))]
    pub version: Option<semver::VersionReq>,
}

/// One declared, typed input of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterDeclaration {
    /// Its name: a letter, then letters, digits and `_`. Templates see it under this name.
    #[schemars(regex(pattern = "^[a-zA-Z][a-zA-Z0-9_]*$"))]
    pub name: String,
    /// What a value must be.
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
    /// The value where no layer gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = ["string", "number", "boolean", "array"]))]
    pub default: Option<Value>,
    /// Some layer must give a value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// Values are secret: they must be given by reference and appear in no text.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secret: bool,
    /// The only values that are allowed.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Scalar>")]
    pub choices: Vec<Value>,
    /// The smallest number, or the fewest items of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The largest number, or the most items of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// A regular expression that a text must match as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
}

/// What a value of a parameter must be.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ParameterKind {
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A Kubernetes quantity, such as `2Gi`.
    Quantity,
    /// A length of time, such as `10m`.
    Duration,
    /// A list of texts.
    List,
}

/// Why a value does not fit its declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It is of another type.
    Type,
    /// It is none of the choices.
    Choice,
    /// It is a smaller number, or a shorter list.
    Minimum,
    /// It is a larger number, or a longer list.
    Maximum,
    /// The text does not match the pattern.
    Pattern,
}

impl Mismatch {
    /// The rule of the declaration that is broken, as it is written there; never the value.
    pub fn rule(self, declaration: &ParameterDeclaration) -> String {
        let number = |limit: Option<i64>| limit.unwrap_or_default();
        match self {
            Self::Type => format!("type: {}", declaration.kind),
            Self::Choice => {
                let choices: Vec<String> =
                    declaration.choices.iter().map(ToString::to_string).collect();
                format!("enum: [{}]", choices.join(", "))
            }
            Self::Minimum => format!("minimum: {}", number(declaration.minimum)),
            Self::Maximum => format!("maximum: {}", number(declaration.maximum)),
            Self::Pattern => {
                format!("pattern: {}", declaration.pattern.as_deref().unwrap_or_default())
            }
        }
    }
}

impl ParameterDeclaration {
    /// Why a value in the clear does not fit; `None` when it fits.
    ///
    /// A `quantity` and a `duration` are texts; a whole number is also a `number` and a `quantity`. `minimum` and
    /// `maximum` count the items of a list, and do not concern texts.
    pub fn mismatch(&self, value: &Value) -> Option<Mismatch> {
        let fits = match self.kind {
            ParameterKind::String => value.is_string(),
            ParameterKind::Integer => value.is_i64() || value.is_u64(),
            ParameterKind::Number => value.is_number(),
            ParameterKind::Boolean => value.is_boolean(),
            ParameterKind::Quantity => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (value.is_string() || value.is_number()) && Quantity::new(text).is_ok()
            }
            ParameterKind::Duration => {
                value.as_str().is_some_and(|text| text.parse::<Duration>().is_ok())
            }
            ParameterKind::List => {
                value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
            }
        };
        if !fits {
            return Some(Mismatch::Type);
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            return Some(Mismatch::Choice);
        }
        let size = match value {
            Value::Array(items) => u32::try_from(items.len()).ok().map(f64::from),
            Value::Number(number) => number.as_f64(),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => None,
        };
        if let Some(size) = size {
            #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
            let limit = |limit: i64| limit as f64;
            if self.minimum.is_some_and(|minimum| size < limit(minimum)) {
                return Some(Mismatch::Minimum);
            }
            if self.maximum.is_some_and(|maximum| size > limit(maximum)) {
                return Some(Mismatch::Maximum);
            }
        }
        if let (Some(pattern), Value::String(_)) = (&self.pattern, value) {
            let whole = json!({"pattern": format!("^(?:{pattern})$")});
            if !jsonschema::is_valid(&whole, value) {
                return Some(Mismatch::Pattern);
            }
        }
        None
    }
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Quantity => "quantity",
            Self::Duration => "duration",
            Self::List => "list",
        })
    }
}

/// The schema of a text, number or boolean.
struct Scalar;

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// How an app is reached from outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// Its name; unique in the product.
    pub name: Name,
    /// The app that it leads to.
    pub app: Name,
    /// The port that it listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The app's port. Default: the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<PortReference>,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// The name that leads to it, a template such as `iam.{{ site.domain }}`. It becomes a record of
    /// the zone that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The addresses that the host's record gets: templates such as `{{ webAddress }}`, each one address or several with
    /// commas between. Without them the host gets no record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// The protocol of a port.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A database schema that a product needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Database {
    /// The schema's name; the site's `resourcePrefix` goes before it.
    #[schemars(regex(pattern = "^[a-zA-Z][a-zA-Z0-9_]{0,62}$"))]
    pub name: String,
    /// The kind of database.
    pub engine: DatabaseEngine,
    /// The instance that holds it. Default: the site decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// Which app gets the address and account as environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<DatabaseEnv>,
}

/// The kind of a database.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseEngine {
    /// `MySQL`.
    Mysql,
    /// PostgreSQL.
    Postgresql,
    /// `OceanBase`, in its `MySQL` mode.
    Oceanbase,
}

/// Which app gets a database's address and account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseEnv {
    /// The app.
    pub app: Name,
    /// What the variables' names start with, such as `DB_`.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub prefix: String,
}

/// A way to deploy a product: which apps and resources it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Topology {
    /// Its name.
    pub name: Name,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// Its apps.
    #[schemars(length(min = 1))]
    pub apps: Vec<Name>,
}

/// How many instances of each app, and how large: the deployment specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Size {
    /// Its name.
    pub name: Name,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The apps that differ from one instance without limits.
    pub apps: BTreeMap<Name, AppSize>,
}

/// How many instances of an app, and how large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppSize {
    /// How many instances; a `DaemonSet` has one per node and takes none. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<u32>,
    /// CPU of each instance, such as `2` or `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory of each instance, such as `4Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

impl AppSize {
    /// This size with the fields that `stronger` gives put over it.
    #[must_use]
    pub fn overridden_by(&self, stronger: &Self) -> Self {
        Self {
            replicas: stronger.replicas.or(self.replicas),
            cpu: stronger.cpu.clone().or_else(|| self.cpu.clone()),
            memory: stronger.memory.clone().or_else(|| self.memory.clone()),
        }
    }
}

/// For `skip_serializing_if`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(text: &str) -> ParameterDeclaration {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn values_fit_their_declaration_or_say_why_not() {
        let integer =
            declaration(r#"{"name": "n", "type": "integer", "minimum": 1, "maximum": 64}"#);
        assert_eq!(integer.mismatch(&json!(4)), None);
        assert_eq!(integer.mismatch(&json!("4")), Some(Mismatch::Type));
        assert_eq!(integer.mismatch(&json!(4.5)), Some(Mismatch::Type));
        assert_eq!(integer.mismatch(&json!(0)), Some(Mismatch::Minimum));
        assert_eq!(integer.mismatch(&json!(65)), Some(Mismatch::Maximum));
        assert_eq!(Mismatch::Maximum.rule(&integer), "maximum: 64");
        let quantity = declaration(r#"{"name": "n", "type": "quantity"}"#);
        assert_eq!(quantity.mismatch(&json!("2Gi")), None);
        assert_eq!(quantity.mismatch(&json!(2)), None);
        assert_eq!(quantity.mismatch(&json!("2GB")), Some(Mismatch::Type));
        let mode = declaration(r#"{"name": "n", "type": "string", "enum": ["single", "dual"]}"#);
        assert_eq!(mode.mismatch(&json!("dual")), None);
        assert_eq!(mode.mismatch(&json!("triple")), Some(Mismatch::Choice));
        assert_eq!(Mismatch::Choice.rule(&mode), r#"enum: ["single", "dual"]"#);
        let text = declaration(r#"{"name": "n", "type": "string", "pattern": "[a-z]+"}"#);
        assert_eq!(text.mismatch(&json!("abc")), None);
        assert_eq!(text.mismatch(&json!("abc1")), Some(Mismatch::Pattern));
        let list = declaration(r#"{"name": "n", "type": "list", "minimum": 2}"#);
        assert_eq!(list.mismatch(&json!(["a", "b"])), None);
        assert_eq!(list.mismatch(&json!(["a"])), Some(Mismatch::Minimum));
        assert_eq!(list.mismatch(&json!([1, 2])), Some(Mismatch::Type));
    }
}
