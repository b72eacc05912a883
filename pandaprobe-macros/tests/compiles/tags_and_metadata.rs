#[pandaprobe::trace(tags = ["a", kind], metadata = {"n": n, "s": "t"})]
fn job(kind: &str, n: u8) {
    let _ = (kind, n);
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job("b", 1);
    });
    captured.assert_tree("job COMPLETED tags=a,b|".replace('|', "\n").as_str());
    assert_eq!(captured.traces[0].metadata["n"], 1);
}
