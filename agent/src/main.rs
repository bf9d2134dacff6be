//! The `tidegate` binary: parse, run, exit code.

use std::process::ExitCode;

/// Many small objects come and go: the allocator of the C library keeps what they leave behind, and is slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
