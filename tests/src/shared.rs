//! Material that lies beside the project, and tests that need it.

use std::{io::Write, path::PathBuf};

/// The directory with the shared material: `$PANDAPROBE_SHARED`, or `shared` beside the workspace.
///
/// `None` if there is no such directory.
#[must_use]
pub fn shared_dir() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let path = std::env::var_os("PANDAPROBE_SHARED").unwrap_or_else(|| beside.into());
    Some(PathBuf::from(path)).filter(|path| path.is_dir())
}

/// Whether a test that needs `what` can run.
///
/// If it cannot, one line on stderr says that it was skipped; the test harness does not swallow that line.
///
/// # Panics
///
/// If `what` is absent and `PANDAPROBE_REQUIRE`, a comma-separated list, names it.
#[must_use]
pub fn require(what: &str, present: bool) -> bool {
    if present {
        return true;
    }
    let required = std::env::var("PANDAPROBE_REQUIRE").unwrap_or_default();
    if required.split(',').any(|name| name.trim() == what) {
        panic!("{what} is required and is not here");
    }
    // Not `eprintln!`, which the harness captures: a skipped test must not look like one that ran.
    let _ = writeln!(std::io::stderr(), "skipped: {what} is not here");
    false
}
