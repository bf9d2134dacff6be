//! How far a release is, product by product: what people watch while a whole site is installed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ReleaseState, StepStatus};
use crate::plan::{Plan, Step};

/// How far a release is with one product, over all its clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductProgress {
    /// The product; empty for what belongs to the site itself.
    pub product: String,
    /// How it stands.
    pub state: ProductState,
    /// Steps that are done or skipped.
    pub done: usize,
    /// Steps in all.
    pub steps: usize,
}

/// How a product stands in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProductState {
    /// None of its steps has begun.
    ToCome,
    /// Under way.
    UnderWay,
    /// A step of it failed.
    Failed,
    /// All its steps are done.
    Done,
    /// What had begun is back where it was.
    RolledBack,
    /// What was not done was given up.
    Cancelled,
}

/// Each product of a plan, in the order in which the first of its steps comes.
pub fn products(plan: &Plan, state: &ReleaseState) -> Vec<ProductProgress> {
    let mut order = Vec::new();
    let mut steps: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for (_, step) in plan.steps() {
        let product = step.product.as_deref().unwrap_or_default();
        if !steps.contains_key(product) {
            order.push(product);
        }
        steps.entry(product).or_default().push(step);
    }
    let of_one = |product: &str| {
        let own = steps.get(product).map_or(&[][..], Vec::as_slice);
        let begun = || own.iter().filter_map(|step| state.step(&step.id));
        let done = begun().filter(|step| step.is_complete()).count();
        let state = if begun().any(|it| matches!(it.status, StepStatus::Failed(_))) {
            ProductState::Failed
        } else if begun().any(|it| it.status == StepStatus::RolledBack) && done == 0 {
            ProductState::RolledBack
        } else if done == own.len() {
            ProductState::Done
        } else if own.iter().all(|step| state.is_settled(&step.id)) {
            ProductState::Cancelled
        } else if begun().next().is_some() {
            ProductState::UnderWay
        } else {
            ProductState::ToCome
        };
        ProductProgress { product: product.to_owned(), state, done, steps: own.len() }
    };
    order.into_iter().map(of_one).collect()
}
