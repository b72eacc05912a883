#[pandaprobe::trace(skip(secret))]
fn job(secret: &str, n: u8) -> usize {
    secret.len() + usize::from(n)
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job("hush", 1);
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
    assert_eq!(captured.traces[0].input.as_ref().unwrap().to_string(), "{\"n\":1}");
}
