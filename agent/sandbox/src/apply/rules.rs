//! How servers of different ages apply.
#![expect(clippy::wildcard_enum_match_arm, reason = "only maps and structs can be one value")]

use crate::resource::Resource;
use crate::schema::Shape;

/// The rules of a server's version. What the versions share is not asked for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    minor: u32,
    is_custom: bool,
}

impl Rules {
    /// Those of a version as in `1.29`.
    pub(crate) fn of(version: &str) -> Self {
        let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok());
        Self { minor: minor.unwrap_or(u32::MAX), is_custom: false }
    }

    /// The same for the objects of a resource.
    pub(crate) fn about(self, resource: &Resource) -> Self {
        Self { is_custom: resource.is_custom, ..self }
    }

    /// Whether a map or struct is one value. Of the built-in ones only selectors with expressions were so before 1.22.
    pub(crate) fn is_one_value(self, shape: &Shape) -> bool {
        const SELECTOR: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";
        let is_atomic = match shape {
            Shape::Map(map) => map.is_atomic,
            _ => shape.fields().is_some_and(|fields| fields.is_atomic),
        };
        let was_atomic = matches!(shape, Shape::Ref(name) if name == SELECTOR);
        is_atomic && (self.is_custom || was_atomic || self.minor >= 22)
    }

    /// Whether a struct goes with the last of its fields that somebody gave up. Before, defaults inside of it stayed and often made
    /// the object invalid, as a probe without an action.
    pub(crate) fn gives_up_whole_structs(self) -> bool {
        self.minor >= 21
    }

    /// Whether an empty map is owned.
    pub(crate) fn owns_empty_maps(self) -> bool {
        self.minor >= 21
    }

    /// Whether the protocol, a key of the ports of a Service, may be left out.
    pub(crate) fn knows_the_protocol_of_services(self) -> bool {
        self.minor >= 21
    }

    /// Whether an amount may be a number.
    pub(crate) fn takes_amounts_as_numbers(self) -> bool {
        self.minor >= 21
    }

    /// Whether entries of lists come in the applied order (<https://github.com/kubernetes/kubernetes/pull/107565>). Before, new
    /// ones came last.
    pub(crate) fn keeps_the_applied_order(self) -> bool {
        self.minor >= 24
    }
}
