//! What benches share: the program built as they are, and what a process has used of the processor.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Builds the program, which `cargo bench` does not, as it built the bench of this name.
///
/// # Panics
/// When it cannot be built.
pub fn build_program(bench: &str) {
    // In the same profile, or everything would be built once more.
    let profile = if cfg!(debug_assertions) { "dev" } else { "bench" };
    // With the bench: alone it would be built with other features of its dependencies, and they once more.
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--bench", bench])
        .args(["--profile", profile])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status();
    assert!(built.is_ok_and(|it| it.success()), "the program is to be built");
}

/// Processor time of a process so far (proc(5), `stat`, fields 14 and 15), of which the clock ticks a hundred times a second.
///
/// # Panics
/// When there is no such process.
pub fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit_once(')').expect("its fields").1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|it| it.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}
