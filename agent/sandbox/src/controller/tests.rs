//! The controllers on a small store with a clock that is moved by hand.

mod bench;
mod deployment;
mod stateful_set;
mod whole;
