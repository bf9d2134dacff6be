//! Every decision of Tidegate, without IO, async, clock or randomness.

pub mod zone;
