//! Apps: the programs of a `ProductVersion`, with the options of the reference platform (YL-060 … YL-072).

use std::{collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    product::{Protocol, is_false},
    scalar::{Decimal, Duration, Name, PortReference, Quantity, Text},
};

/// One program of a product. Texts in `env`, `files`, `command` and `args` are templates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct App {
    /// Its name; unique in the product, and the name of its workload.
    pub name: Name,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// Whether it runs always, once, or as a test.
    #[serde(default)]
    pub kind: AppKind,
    /// The workload that a standard app becomes. Tasks and tests become Jobs.
    #[serde(default)]
    pub workload: Workload,
    /// Pods of a `StatefulSet` start and change one by one, in the order of their numbers (pod management
    /// `OrderedReady`). Default: side by side.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ordered: bool,
    /// The image. Without a host it comes from the site's registry. A tag is resolved to a digest when the
    /// plan is made, and keeps it once it was delivered; `@sha256:` pins it here.
    #[schemars(extend("format" = "image"))]
    pub image: String,
    /// Apps of this product that must be ready, or done, before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Name>,
    /// The program and its first arguments. Default: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// More arguments. Default: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables. One that uses a secret parameter goes through a Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "env_schema")]
    pub env: BTreeMap<String, String>,
    /// Files in the container, by absolute path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "files_schema")]
    pub files: BTreeMap<String, FileSource>,
    /// The ports that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// How Kubernetes sees whether it lives and is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Volumes: each instance has its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// What the agent checks after each group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Certificates that are mounted (YL-063).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Which nodes it may run on; all must hold (YL-069).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_affinity: Vec<NodeRequirement>,
    /// The taints that it bears (YL-070).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How its pods spread (YL-071).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread: Vec<TopologySpread>,
    /// Apps that it runs beside (YL-072).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affinity: Vec<AppAffinity>,
    /// Apps that it does not run beside; its own name keeps its instances apart (YL-072).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anti_affinity: Vec<AppAffinity>,
    /// It uses the node's network (YL-062).
    #[serde(default, skip_serializing_if = "is_false")]
    pub host_network: bool,
    /// How it resolves names (YL-064). Default: `ClusterFirst`, with `hostNetwork` `ClusterFirstWithHostNet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<DnsPolicy>,
    /// GPU memory of each instance (YL-062).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory: Option<Quantity>,
    /// How much less is requested than allowed (YL-060). Default: as much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overcommit: Option<Overcommit>,
    /// The user that it runs as. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<u32>,
    /// How long it may take to end. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period: Option<Duration>,
    /// How long a task or test may take. Default: the rollout policy's `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How often a task or test that failed is tried again. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<u32>,
}

fn map_schema<T: JsonSchema>(generator: &mut SchemaGenerator, keys: &str) -> Schema {
    let values = generator.subschema_for::<T>();
    json_schema!({
        "type": "object",
        "propertyNames": {"pattern": keys},
        "additionalProperties": values,
    })
}

fn env_schema(generator: &mut SchemaGenerator) -> Schema {
    map_schema::<String>(generator, "^[A-Za-z_][-._A-Za-z0-9]*$")
}

fn files_schema(generator: &mut SchemaGenerator) -> Schema {
    map_schema::<FileSource>(generator, "^/[^\\s]+$")
}

/// Whether an app runs always, once, or as a test.
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
pub enum AppKind {
    /// Runs always.
    #[default]
    Standard,
    /// Runs once per digest of its inputs: data repair, preparation of a database.
    Task,
    /// Runs after its product changed, or when asked for; its exit code is the verdict.
    Test,
}

/// The workload that a standard app becomes.
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
pub enum Workload {
    /// Numbered pods with volumes of their own; groups are exact by partition.
    #[default]
    StatefulSet,
    /// Interchangeable pods.
    Deployment,
    /// One pod per node; a node is a group.
    DaemonSet,
}

/// The content of a file: written here, or taken from a file beside the version's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// The content itself; a template.
    Text(String),
    /// `{from: files/app.properties}`: a file relative to the version's folder; a template too.
    From(String),
}

impl Serialize for FileSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::From(path) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("from", path)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for FileSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileSourceVisitor;

        impl<'de> de::Visitor<'de> for FileSourceVisitor {
            type Value = FileSource;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, or {from: path}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileSource, E> {
                Ok(FileSource::Text(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<FileSource, A::Error> {
                let mut from = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "from" {
                        return Err(de::Error::unknown_field(&key, &["from"]));
                    }
                    from = Some(map.next_value()?);
                }
                from.map(FileSource::From).ok_or_else(|| de::Error::missing_field("from"))
            }
        }

        deserializer.deserialize_any(FileSourceVisitor)
    }
}

impl JsonSchema for FileSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileSource".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The content of a file: written here, or taken from a file.",
            "type": ["string", "object"],
            "required": ["from"],
            "additionalProperties": false,
            "properties": {
                "from": {
                    "type": "string",
                    "minLength": 1,
                    "description": "A file, relative to the folder of the version's document.",
                },
            },
        })
    }
}

/// A port that an app listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Its name, at most 15 characters (RFC 6335 5.1).
    #[schemars(length(max = 15))]
    pub name: Name,
    /// Its number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// How Kubernetes sees whether an app has started, lives and is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probes {
    /// Until this holds the other two wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// When this fails the container is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// When this fails the pod gets no traffic, and its group is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
}

/// One probe: exactly one of `tcp`, `http` and `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// The port can be connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// The answer's status is at least 200 and below 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// The program in the container ends with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// Seconds before the first one. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<u32>,
    /// Seconds between two. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub period_seconds: Option<u32>,
    /// Seconds that one may take. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<u32>,
    /// How many in a row must fail. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<u32>,
}

/// Connects to a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    /// The port; it must be one of the app's.
    pub port: PortReference,
}

/// Asks by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// The path, from `/`.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// The port; it must be one of the app's.
    pub port: PortReference,
}

/// Runs a program in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecProbe {
    /// The program and its arguments.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
}

/// A volume: each instance has its own, and keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Its name; unique in the app.
    pub name: Name,
    /// Where it is mounted.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// How large. It may grow and never shrinks. Without a size it is temporary (`emptyDir`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// The storage class: one of the site's `storageClasses`, or the cluster's own name of one. Default:
    /// the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The user that owns its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}

/// What the agent checks after each group: exactly one of `http`, `tcp`, `exec`, `cel` and `prometheus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// Its name; unique in the app.
    pub name: Name,
    /// Asks each new pod by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Connects to each new pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Executes a command in each new pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecCheck>,
    /// Judges an object of the cluster once for the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel: Option<CelCheck>,
    /// Judges what the cluster's Prometheus measures, once for the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// How long it may take until it holds, from when it is first asked. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// Asks by HTTP and looks at the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheck {
    /// The path, from `/`.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// The port; it must be one of the app's.
    pub port: PortReference,
    /// The status that is right. Default: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// A text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// Executes a command in the app's container, which must end with 0 within 10 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecCheck {
    /// The program and its arguments. It changes nothing: it may be executed many times.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// A text that it must write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// Judges an object by an expression in CEL (cel.dev).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CelCheck {
    /// What must be true of the object, which is called `object`.
    #[schemars(length(min = 1))]
    pub expression: String,
    /// Which object. Default: the app's workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<CheckedObject>,
}

/// An object in the app's namespace, or one of a kind that has no namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckedObject {
    /// Its API version, such as `kafka.strimzi.io/v1beta2`.
    #[schemars(length(min = 1))]
    pub api_version: String,
    /// Its kind.
    #[schemars(length(min = 1))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Asks the cluster's Prometheus (`prometheus` of the `Cluster`). No data is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusCheck {
    /// An instant query in `PromQL`; a template. `$pods` in it becomes a regular expression of the names of the app's new pods.
    #[schemars(length(min = 1))]
    pub query: String,
    /// Every value must be this or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// Every value must be this or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// How long after the group is ready it is first asked, since what is measured before is of the old pods. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
}

/// A certificate that is mounted from a Secret of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The Secret.
    pub secret: Name,
    /// The folder in the container.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
}

/// A condition on a node's label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRequirement {
    /// The label's key.
    #[schemars(length(min = 1))]
    pub key: String,
    /// How the values count.
    #[serde(default)]
    pub operator: NodeOperator,
    /// The values; none for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// A wish only, with this weight; without it the condition must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<u32>,
}

/// How the values of a [`NodeRequirement`] count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeOperator {
    /// The label has one of the values.
    #[default]
    In,
    /// The label has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// A taint that an app bears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key. Default: every key, with `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the value counts.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value, with `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The effect that is borne. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// How the value of a [`Toleration`] counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The taint has this value.
    #[default]
    Equal,
    /// The taint is there.
    Exists,
}

/// What a taint does to pods that do not bear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// They come here only when nothing else is free.
    PreferNoSchedule,
    /// They do not come here.
    NoSchedule,
    /// They are also driven out.
    NoExecute,
}

/// How the pods of an app spread over nodes, zones or rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopologySpread {
    /// The node label whose values are the places, such as `kubernetes.io/hostname`.
    #[schemars(length(min = 1))]
    pub key: String,
    /// How much two places may differ. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_skew: Option<u32>,
    /// What happens when it cannot be kept.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens when a spread cannot be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// The pod waits.
    DoNotSchedule,
    /// The pod starts nevertheless.
    #[default]
    ScheduleAnyway,
}

/// Another app that an app runs beside, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppAffinity {
    /// The app, of the same product.
    pub app: Name,
    /// Whether it must be so.
    #[serde(default)]
    pub strength: AffinityStrength,
    /// The node label whose equal values count as beside. Default: `kubernetes.io/hostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_key: Option<String>,
}

/// Whether an affinity must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AffinityStrength {
    /// It must hold; otherwise the pod waits.
    Strong,
    /// It is a wish.
    #[default]
    Weak,
}

/// How an app resolves names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsPolicy {
    /// As the node does.
    Default,
    /// By the cluster's DNS.
    ClusterFirst,
    /// By the cluster's DNS, on the node's network.
    ClusterFirstWithHostNet,
}

/// How much less is requested than allowed: request = limit / ratio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overcommit {
    /// For CPU; `4` requests a quarter of the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub cpu: Option<f64>,
    /// For memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub memory: Option<f64>,
}
