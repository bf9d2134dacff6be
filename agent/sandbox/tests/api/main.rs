//! The API of the sandbox, asked as a client asks it: requests in, answers out, on a clock that stands still.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod access;
mod apply;
mod bench;
mod client;
mod custom;
mod fault;
mod object;
mod rule;
mod watch;
