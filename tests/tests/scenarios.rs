//! One folder per scenario in `tests/scenarios`: a site, steps, and the text that an operator reads.
//!
//! With `UPDATE=1` the texts are written instead of compared.

use std::path::Path;

use similar::TextDiff;
use tidegate_tests::scenario::play;

/// What went wrong, shown as it is.
struct Told(String);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

fn an_operator_reads_what_is_written(steps: &Path) -> datatest_stable::Result<()> {
    let folder = steps.parent().unwrap_or(steps);
    let told = play(folder).map_err(Told)?;
    let golden = folder.join("golden.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, told)?;
        return Ok(());
    }
    let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
    if wanted == told {
        return Ok(());
    }
    let diff = TextDiff::from_lines(&wanted, &told);
    let diff = diff.unified_diff().header("golden.txt", "now").to_string();
    Err(Told(format!("read it, then `UPDATE=1` writes it:\n{diff}")).into())
}

datatest_stable::harness! {
    { test = an_operator_reads_what_is_written, root = "scenarios", pattern = r"/steps\.yaml$" },
}
