#[pandaprobe::trace()]
fn job() {}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job();
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
}
