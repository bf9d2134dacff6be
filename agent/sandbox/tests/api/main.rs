//! The API of the sandbox, asked as a client asks it: requests in, answers out, on a clock that stands still.

mod access;
mod apply;
mod bench;
mod custom;
mod fault;
mod object;
mod rule;
mod watch;
