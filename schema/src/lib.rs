//! The kinds of documents of a Tidegate site as types, and everything that is made from the types.
//!
//! Start here:
//! - [`yaml::parse`] reads a file: `(Vec<Document>, Vec<Finding>)`, all findings at once. A document with
//!   an error is not in the list. [`yaml::parse_objects`] reads plain Kubernetes manifests.
//! - [`Document`]: `metadata`, `body` (an enum over the kinds: `match &document.body { Body::Site(site) => … }`)
//!   and its positions: `document.place("spec.products[2].version")` gives the [`Place`] of a finding.
//! - [`Finding`]: `Finding::error("PLAN/DOWNGRADE_REFUSED").at(document.place("spec.version")).with("product", name)`.
//!   Texts are in `schema/catalogue/<category>.yaml`: see [`catalogue`] for how to add one.
//! - [`json_schema::of`] gives the JSON Schema of a kind.
//!
//! What needs only one document is checked here: shape, types, ranges, forms. What needs several (references,
//! uniqueness, cycles) is `tidegate-core`'s `validate`.

pub mod finding;
pub mod catalogue;
pub mod scalar;
pub mod position;
pub mod site;
pub mod app;
pub mod product;
pub mod solution;
pub mod parameters;
pub mod policy;
pub mod iam;
pub mod zone;
pub mod operation;
pub mod approval;
pub mod document;
pub mod json_schema;
pub mod suggest;
mod form;
pub mod yaml;
pub mod reference;

pub use document::{API_VERSION, Body, Document, Kind, Metadata, Origin};
pub use finding::{Finding, Lang, Place, Severity};
pub use scalar::{Duration, Name, PortReference, Quantity, Text};
