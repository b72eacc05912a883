#[pandaprobe::trace(name = format!("job-{n}"))]
fn job(n: u8) {
    let _ = n;
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job(7);
    });
    captured.assert_tree("job-7 COMPLETED|".replace('|', "\n").as_str());
}
