//! agent/sandbox: to be written.
