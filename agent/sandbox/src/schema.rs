//! What the fields of a kind are: types, list keys, atomic parts, and what Go leaves out when empty.
//!
//! `schema/types.json` is made from the published definitions of Kubernetes 1.29 by the script beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

/// The shape of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A resource quantity, kept in canonical form.
    Quantity,
    /// A whole number or a string.
    IntOrString,
    /// A moment in whole seconds.
    Time,
    /// A moment in microseconds.
    MicroTime,
    /// Base64.
    Bytes,
    /// Anything: maps are granular, lists atomic, nothing is dropped.
    Any,
    /// A named type of the table.
    Ref(String),
    /// A type written in place (custom resources).
    Struct(Arc<Struct>),
    /// A list.
    List(Arc<List>),
    /// A map from strings.
    Map(Arc<Map>),
}

/// A type with named fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Struct {
    /// The fields by name.
    pub fields: BTreeMap<String, Field>,
    /// Whether it is owned as a whole.
    pub is_atomic: bool,
    /// Whether unknown fields stay, with this shape (`x-kubernetes-preserve-unknown-fields`, `additionalProperties`).
    pub rest: Option<Shape>,
}

/// One field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What it holds.
    pub shape: Shape,
    /// Whether its empty value (empty list, empty map, zero, false, "") is left out.
    pub is_omitted_empty: bool,
    /// Whether it is written even when absent: `{}` for a struct, null for a time.
    pub is_always_written: bool,
    /// Whether an explicit null is kept (custom resources).
    pub is_nullable: bool,
    /// The strategy of strategic merge patches for a struct or map.
    pub strategy: String,
}

/// A list and how its entries are told apart.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// What the entries are.
    pub item: Shape,
    /// How ownership and merging see it.
    pub relation: Relation,
    /// The strategy of strategic merge patches.
    pub strategy: String,
    /// The key of strategic merge patches.
    pub merge_key: String,
}

/// How the entries of a list relate to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The list is one value.
    Atomic,
    /// The entries are their own keys.
    Set,
    /// The entries are told apart by these fields.
    Keyed(Vec<String>),
}

/// A map from strings.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// What the values are.
    pub value: Shape,
    /// Whether it is owned as a whole.
    pub is_atomic: bool,
}

struct Table {
    types: BTreeMap<String, Struct>,
    kinds: BTreeMap<(String, String, String), String>,
}

static EMPTY: LazyLock<Struct> = LazyLock::new(Struct::default);

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let source: Value = serde_json::from_str(include_str!("../schema/types.json"))
        .unwrap_or_else(|error| unreachable!("types.json is part of the program: {error}"));
    let mut table = Table { types: BTreeMap::new(), kinds: BTreeMap::new() };
    for (name, definition) in source.as_object().into_iter().flatten() {
        if let Some([group, version, kind]) =
            definition.get("kind").and_then(Value::as_array).map(Vec::as_slice)
        {
            let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            table.kinds.insert((part(group), part(version), part(kind)), name.clone());
        }
        table.types.insert(name.clone(), read_struct(definition));
    }
    table
});

/// The shape of a built-in kind; anything when the table does not know it.
pub fn of_kind(group: &str, version: &str, kind: &str) -> Shape {
    let key = (group.to_owned(), version.to_owned(), kind.to_owned());
    TABLE.kinds.get(&key).map_or(Shape::Any, |name| Shape::Ref(name.clone()))
}

/// A type by its name in the published definitions.
pub fn named(name: &str) -> &'static Struct {
    TABLE.types.get(name).unwrap_or(&EMPTY)
}

/// All types by name.
pub fn types() -> &'static BTreeMap<String, Struct> {
    &TABLE.types
}

impl Shape {
    /// The struct behind a reference or written in place.
    pub fn fields(&self) -> Option<&Struct> {
        match self {
            Self::Ref(name) => Some(named(name)),
            Self::Struct(inner) => Some(inner),
            Self::Text
            | Self::Integer
            | Self::Number
            | Self::Boolean
            | Self::Quantity
            | Self::IntOrString
            | Self::Time
            | Self::MicroTime
            | Self::Bytes
            | Self::Any
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    /// The shape of a field of this struct or map; `Any` when nothing is known of it.
    pub fn field(&self, name: &str) -> &Self {
        const ANY: &Shape = &Shape::Any;
        if let Self::Map(map) = self {
            return &map.value;
        }
        self.fields().map_or(ANY, |fields| match fields.fields.get(name) {
            Some(field) => &field.shape,
            None => fields.rest.as_ref().unwrap_or(ANY),
        })
    }

    /// The shape of a list's entries.
    pub fn item(&self) -> &Self {
        const ANY: &Shape = &Shape::Any;
        if let Self::List(list) = self { &list.item } else { ANY }
    }
}

fn read_struct(definition: &Value) -> Struct {
    let fields = definition.get("fields").and_then(Value::as_object);
    Struct {
        fields: fields
            .into_iter()
            .flatten()
            .map(|(name, field)| (name.clone(), read_field(field)))
            .collect(),
        is_atomic: flag(definition, "atomic"),
        rest: None,
    }
}

fn read_field(field: &Value) -> Field {
    let shape = field.get("type").map_or(Shape::Any, read_shape);
    Field {
        shape,
        is_omitted_empty: flag(field, "omit"),
        is_always_written: flag(field, "zero"),
        is_nullable: false,
        strategy: word(field, "strategy"),
    }
}

fn read_shape(shape: &Value) -> Shape {
    if let Some(name) = shape.as_str() {
        return match name {
            "string" => Shape::Text,
            "integer" => Shape::Integer,
            "number" => Shape::Number,
            "boolean" => Shape::Boolean,
            "quantity" => Shape::Quantity,
            "intOrString" => Shape::IntOrString,
            "time" => Shape::Time,
            "microTime" => Shape::MicroTime,
            "bytes" => Shape::Bytes,
            _ => Shape::Any,
        };
    }
    if let Some(name) = shape.get("ref").and_then(Value::as_str) {
        return Shape::Ref(name.to_owned());
    }
    if let Some(item) = shape.get("list") {
        let keys = shape.get("keys").and_then(Value::as_array);
        let relation = if let Some(keys) = keys {
            Relation::Keyed(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        } else if flag(shape, "set") {
            Relation::Set
        } else {
            Relation::Atomic
        };
        return Shape::List(Arc::new(List {
            item: read_shape(item),
            relation,
            strategy: word(shape, "strategy"),
            merge_key: word(shape, "mergeKey"),
        }));
    }
    if let Some(value) = shape.get("map") {
        return Shape::Map(Arc::new(Map {
            value: read_shape(value),
            is_atomic: flag(shape, "atomic"),
        }));
    }
    Shape::Any
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn word(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
