#[pandaprobe::trace(name = "a job")]
fn job() {}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job();
    });
    captured.assert_tree("a job COMPLETED|".replace('|', "\n").as_str());
}
