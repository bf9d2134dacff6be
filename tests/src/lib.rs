//! tests: to be written.
