//! Who owns which fields: the entries of `metadata.managedFields`.

use serde_json::{Value, json};

use super::fieldset::FieldSet;
use crate::object::{self, text};

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owner {
    pub(crate) manager: String,
    /// Whether it applies (server-side) or updates.
    pub(crate) applies: bool,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: String,
    pub(crate) set: FieldSet,
}

impl Owner {
    /// Whether both are the same owner, whatever they own. An applier is the same in every version.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.applies == other.applies
            && self.subresource == other.subresource
            && (self.applies || self.api_version == other.api_version)
    }

    /// As conflicts name it.
    pub(crate) fn shown(&self) -> String {
        let mut out = format!("\"{}\"", self.manager);
        if !self.subresource.is_empty() {
            out = format!("{out} with subresource \"{}\"", self.subresource);
        }
        if !self.applies {
            out = format!("{out} using {}", self.api_version);
        }
        out
    }

    fn to_value(&self) -> Value {
        let mut out = json!({
            "manager": self.manager,
            "operation": if self.applies { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.set.to_value(),
        });
        // Whoever writes the entries by hand may leave it out.
        if !self.time.is_empty() {
            object::set(&mut out, "time", self.time.as_str().into());
        }
        if !self.subresource.is_empty() {
            object::set(&mut out, "subresource", self.subresource.as_str().into());
        }
        out
    }
}

/// The owners of an object.
pub(crate) fn read(value: &Value) -> Vec<Owner> {
    object::list(value, "/metadata/managedFields")
        .iter()
        .map(|entry| Owner {
            manager: text(entry, "/manager").to_owned(),
            applies: text(entry, "/operation") == "Apply",
            api_version: text(entry, "/apiVersion").to_owned(),
            subresource: text(entry, "/subresource").to_owned(),
            time: text(entry, "/time").to_owned(),
            set: entry.get("fieldsV1").map(FieldSet::from_value).unwrap_or_default(),
        })
        .collect()
}

/// Writes the owners into the object, sorted as the server sorts them; owners of nothing are left out.
pub(crate) fn write(value: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.set.is_empty());
    owners.sort_by(|left, right| {
        let key = |owner: &Owner| {
            (
                !owner.applies,
                owner.time.clone(),
                owner.manager.clone(),
                owner.api_version.clone(),
                owner.subresource.clone(),
            )
        };
        key(left).cmp(&key(right))
    });
    if owners.is_empty() {
        object::take_metadata(value, "managedFields");
    } else {
        let entries = owners.iter().map(Owner::to_value).collect();
        object::set_metadata(value, "managedFields", entries);
    }
}
