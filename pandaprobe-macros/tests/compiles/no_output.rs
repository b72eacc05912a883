#[pandaprobe::trace(capture_output = false)]
fn job() -> &'static str {
    "secret"
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        assert_eq!(job(), "secret");
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
    assert_eq!(captured.traces[0].output, None);
}
