//! The kind `Parameters`: values for what products declare, in layers.

use std::{collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::scalar::Name;

/// One layer of parameter values.
///
/// Layers, weakest first: the declared default, site, cluster, product, product and cluster, app, scaling group, app of a
/// scaling group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameters {
    /// For what the values count.
    pub scope: ParameterScope,
    /// The values, by the parameter's name.
    pub values: BTreeMap<String, ParameterValue>,
}

/// For what values count: `{}` (site), `{cluster}`, `{product}`, `{product, app}`, `{product, cluster}`,
/// `{product, scalingGroup}` or `{product, scalingGroup, app}`.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterScope {
    /// Only in this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Name>,
    /// Only for this product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Name>,
    /// Only for this app of the product, as its version calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// Only in this scaling group of the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<Name>,
}

/// A value: a scalar, a list of texts, or a reference to a secret.
///
/// `Debug` shows plain values; a [`SealedValue`] shows its length only.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    /// A text, number or boolean.
    Plain(serde_json::Value),
    /// A list of texts.
    List(Vec<String>),
    /// A key of a Secret that is in the cluster already. Written `{secret: {name, key}}`.
    Secret(SecretReference),
    /// A value sealed with age for the agent's key. Written `{sealed: "-----BEGIN AGE…"}`.
    Sealed(SealedValue),
}

/// A key of a Secret of the product's namespace in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretReference {
    /// The Secret's name.
    pub name: Name,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Sealed text: nobody but the agent can read it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedValue(pub String);

impl fmt::Debug for SealedValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealedValue({} bytes)", self.0.len())
    }
}

impl ParameterValue {
    /// Whether it is a reference to something secret, and not a value in the clear.
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_) | Self::Sealed(_))
    }
}

impl Serialize for ParameterValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::List(values) => values.serialize(serializer),
            Self::Secret(reference) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("secret", reference)?;
                map.end()
            }
            Self::Sealed(sealed) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("sealed", sealed)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ParameterValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde_json::Value;
        let value = Value::deserialize(deserializer)?;
        match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(Self::Plain(value)),
            Value::Array(_) => {
                serde_json::from_value(value).map(Self::List).map_err(de::Error::custom)
            }
            Value::Object(mut map) if map.len() == 1 => {
                if let Some(reference) = map.remove("secret") {
                    serde_json::from_value(reference).map(Self::Secret).map_err(de::Error::custom)
                } else if let Some(sealed) = map.remove("sealed") {
                    serde_json::from_value(sealed).map(Self::Sealed).map_err(de::Error::custom)
                } else {
                    Err(de::Error::custom("expected `secret` or `sealed`"))
                }
            }
            Value::Object(_) | Value::Null => {
                Err(de::Error::custom("expected a scalar, a list, `secret` or `sealed`"))
            }
        }
    }
}

impl JsonSchema for ParameterValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ParameterValue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut secret = generator.subschema_for::<SecretReference>();
        secret.insert(
            "description".to_owned(),
            "A key of a Secret that is in the cluster already.".into(),
        );
        json_schema!({
            "description": "A value in the clear, a list of texts, or a reference to a secret.",
            "type": ["string", "number", "boolean", "array", "object"],
            "items": {"type": "string"},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "properties": {
                "secret": secret,
                "sealed": {
                    "type": "string",
                    "minLength": 1,
                    "description": "A value sealed with age for the agent's key.",
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_round_trip() {
        for text in [
            r#""6Gi""#,
            "4",
            "true",
            r#"["a","b"]"#,
            r#"{"secret":{"name":"iam-db","key":"password"}}"#,
            r#"{"sealed":"x"}"#,
        ] {
            let value: ParameterValue = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
            assert_eq!(value.is_secret(), text.starts_with('{'));
        }
    }
}
