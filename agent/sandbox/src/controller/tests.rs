//! The controllers on a small store with a clock that is moved by hand.

mod bench;
mod daemon_set;
mod deployment;
mod job;
mod pod;
mod service;
mod stateful_set;
mod whole;
