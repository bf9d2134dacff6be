//! The kinds `Person`, `Group`, `ServiceAccount`, `Role`, `Grant` and `RoleTest`: who may do what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    product::is_false,
    scalar::{Name, Text},
};

/// A person. Logins and passwords are the identity provider's; this is who signs and who is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Person {
    /// The full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The addresses in the person's commits. By them the authors of a change are kept from approving it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("items" = {"type": "string", "format": "email"}))]
    pub emails: Vec<String>,
    /// The public keys that the person signs with, each a line as in `id_ed25519.pub`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("items" = {"type": "string", "format": "ssh-public-key"}))]
    pub keys: Vec<String>,
    /// The name that clusters know the person by. Default: the document's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_user: Option<String>,
    /// Nothing counts that this person holds or signs (IAM-18).
    #[serde(default, skip_serializing_if = "is_false")]
    pub frozen: bool,
}

/// A group of persons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// Its members: persons.
    pub members: Vec<Name>,
    /// The name that clusters know the group by. Default: the document's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_group: Option<String>,
}

/// An account for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccount {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The person or group that answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// The public keys that it signs with, each a line as in `id_ed25519.pub`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("items" = {"type": "string", "format": "ssh-public-key"}))]
    pub keys: Vec<String>,
    /// The namespace of the Kubernetes `ServiceAccount` that it is, in every cluster. Default: the account
    /// exists for the agent only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
}

/// A set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// Roles whose permissions it has too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extends: Vec<Name>,
    /// What it allows in the agent itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// What it allows in the clusters; compiled to RBAC in each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kubernetes: Vec<KubernetesRule>,
}

/// What one may do in the agent itself.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Permission {
    /// See plans, releases, the baseline and drift.
    #[serde(rename = "delivery.read")]
    DeliveryRead,
    /// Start, pause, resume, retry and cancel releases.
    #[serde(rename = "delivery.write")]
    DeliveryWrite,
    /// Approve and reject plans; which approvals count is the approval policy's.
    #[serde(rename = "delivery.approve")]
    DeliveryApprove,
    /// Confirm a group or wave.
    #[serde(rename = "delivery.confirm")]
    DeliveryConfirm,
    /// Skip a failed step by a signed waiver, which stays on record.
    #[serde(rename = "delivery.skip")]
    DeliverySkip,
    /// See operations.
    #[serde(rename = "operations.read")]
    OperationsRead,
    /// Ask for operations: restart, scale, take offline.
    #[serde(rename = "operations.write")]
    OperationsWrite,
    /// See persons, roles and grants.
    #[serde(rename = "iam.read")]
    IamRead,
    /// See zones.
    #[serde(rename = "dns.read")]
    DnsRead,
    /// See the audit ledger.
    #[serde(rename = "audit.read")]
    AuditRead,
    /// Everything, and acknowledging a frozen history.
    #[serde(rename = "site.admin")]
    SiteAdmin,
}

/// A rule of Kubernetes RBAC (`PolicyRule` of `rbac.authorization.k8s.io/v1`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesRule {
    /// The groups of APIs; `""` is the core group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// The kinds in plural, such as `pods` or `pods/log`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only objects of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are no objects, such as `/metrics`; count only for grants of the whole site.
    #[serde(default, rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    /// What may be done, such as `get`, `list`, `watch`.
    #[schemars(length(min = 1))]
    pub verbs: Vec<String>,
}

/// Gives a role to someone, somewhere, until then. An expired grant is no longer desired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// To whom.
    pub subject: Subject,
    /// What.
    pub role: Name,
    /// Where. Default: in the whole site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<GrantScope>,
    /// Until when. Default: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires: Option<jiff::Timestamp>,
    /// Why, such as the number of a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Someone: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A `Person`.
    Person(Name),
    /// A `Group`: each of its members.
    Group(Name),
    /// A `ServiceAccount`.
    ServiceAccount(Name),
}

impl Subject {
    /// The name of the person, group or account.
    pub const fn name(&self) -> &Name {
        match self {
            Self::Person(name) | Self::Group(name) | Self::ServiceAccount(name) => name,
        }
    }
}

/// Where a grant counts: in the products and clusters that are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantScope {
    /// In the namespaces of these products. Default: in the whole cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Name>,
    /// In these clusters. Default: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Name>,
}

/// States what someone can and cannot do; `validate` fails when it is not so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleTest {
    /// Who.
    pub subject: Subject,
    /// At which instant. Default: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub at: Option<jiff::Timestamp>,
    /// What must be allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can: Vec<AccessQuestion>,
    /// What must not be allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cannot: Vec<AccessQuestion>,
}

/// One thing to do: either a `permission` of the agent, or `verb` and `resource` in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessQuestion {
    /// A permission of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Permission>,
    /// A verb of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// A kind in plural.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The group of the kind. Default: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// The product in whose namespace. Default: in the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Name>,
    /// The cluster. Default: each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Name>,
}
