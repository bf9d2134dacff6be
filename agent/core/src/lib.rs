//! Every decision of Tidegate, without IO, async, clock or randomness.

pub mod backoff;
pub mod snapshot;
pub mod zone;
