//! Documents: one YAML document of the repository, read, checked against its kind, and with its positions.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;

use crate::{
    approval::Approval,
    finding::Place,
    iam::{Grant, Group, Person, Role, RoleTest, ServiceAccount},
    operation::Operation,
    parameters::Parameters,
    policy::{ApprovalPolicy, ChangeWindow, RolloutPolicy},
    position::Positions,
    product::{Product, ProductVersion},
    scalar::Name,
    site::{Cluster, Site},
    solution::Solution,
    zone::Zone,
};

/// What `apiVersion` says in every document.
pub const API_VERSION: &str = "tidegate.dev/v1";

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its name and labels.
    pub metadata: Metadata,
    /// Its kind with its `spec`.
    pub body: Body,
    /// Where it is written.
    pub origin: Origin,
}

/// The name and labels of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name; unique among the documents of the kind (for a `ProductVersion`: the product's).
    pub name: Name,
    /// Labels, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes for programs; they change nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Where a document is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was given to [`crate::yaml::parse`].
    pub file: Arc<str>,
    /// The place among the file's documents, from 0.
    pub index: usize,
    /// Where each field is.
    pub positions: Arc<Positions>,
}

impl Document {
    /// The document's name.
    pub fn name(&self) -> &Name {
        &self.metadata.name
    }

    /// The document's kind.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Where a field's value is written: `spec.products[2].version`, `metadata.name`, or `""` for the
    /// whole document. For a field that is not written: where the nearest field around it is.
    pub fn place(&self, path: &str) -> Place {
        self.origin.positions.place(&self.origin.file, path)
    }

    /// Where a field's key is written.
    pub fn place_of_key(&self, path: &str) -> Place {
        self.origin.positions.place_of_key(&self.origin.file, path)
    }

    /// The document as JSON with `apiVersion`, `kind`, `metadata` and `spec`; defaults that were not
    /// written are filled where the type has one. Canonicalise it before making a digest.
    pub fn to_value(&self) -> Value {
        // Serialising plain maps with string keys cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// With `apiVersion`, `kind`, `metadata` and `spec`, as it is written.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Document", 4)?;
        document.serialize_field("apiVersion", API_VERSION)?;
        document.serialize_field("kind", self.kind().as_str())?;
        document.serialize_field("metadata", &self.metadata)?;
        document.serialize_field("spec", &self.body)?;
        document.end()
    }
}

/// The text is not the name of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such kind of document")]
pub struct UnknownKind;

/// Defines [`Kind`] and [`Body`] from one list.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),+ $(,)?) => {
        /// A kind of document.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The kind as `kind:` says it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)+
                }
            }

            /// The schema of the kind's `spec`.
            pub(crate) fn spec_schema(self, generator: schemars::SchemaGenerator) -> schemars::Schema {
                match self {
                    $(Self::$kind => generator.into_root_schema_for::<$kind>(),)+
                }
            }
        }

        /// The `spec` of a document, by kind.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Body {
            $($(#[$doc])* $kind(Box<$kind>),)+
        }

        impl Body {
            /// The kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            pub(crate) fn read(kind: Kind, spec: Value) -> Result<Self, serde_json::Error> {
                Ok(match kind {
                    $(Kind::$kind => Self::$kind(Box::new(serde_json::from_value(spec)?)),)+
                })
            }
        }

        $(impl From<$kind> for Body {
            fn from(spec: $kind) -> Self {
                Self::$kind(Box::new(spec))
            }
        })+
    };
}

kinds! {
    /// One environment under one agent.
    Site,
    /// One Kubernetes API that the site reaches.
    Cluster,
    /// The smallest unit offered to a customer.
    Product,
    /// One immutable release of a product.
    ProductVersion,
    /// Which products the site shall run, where and how large.
    Solution,
    /// Values for what products declare.
    Parameters,
    /// In which waves and groups changes go out.
    RolloutPolicy,
    /// By whose leave changes go out.
    ApprovalPolicy,
    /// When changes may go out.
    ChangeWindow,
    /// A person.
    Person,
    /// A group of persons.
    Group,
    /// An account for a program.
    ServiceAccount,
    /// A set of permissions.
    Role,
    /// Gives a role to someone.
    Grant,
    /// States what someone can and cannot do.
    RoleTest,
    /// Names that the site's DNS answers for.
    Zone,
    /// Something to do outside the solutions.
    Operation,
    /// Who said yes, or no, to which plan.
    Approval,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

impl Kind {
    /// Whether the names of this kind may have dots: a `Zone`'s is a domain.
    pub const fn has_dotted_names(self) -> bool {
        matches!(self, Self::Zone | Self::Approval)
    }
}
