/// Says on stderr how to look at what an example records, if it is kept on this machine: without `PANDAPROBE_API_KEY`.
#[expect(clippy::print_stderr, reason = "whoever runs an example wants to see its traces")]
pub fn viewer_hint() {
    if std::env::var_os("PANDAPROBE_API_KEY").is_none_or(|key| key.is_empty()) {
        eprintln!("Look at the traces with: cargo run -p pandaprobe-local -- open");
    }
}
