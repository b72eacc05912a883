#[pandaprobe::trace]
fn job(n: u8) -> u8 {
    n
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        assert_eq!(job(1), 1);
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
}
