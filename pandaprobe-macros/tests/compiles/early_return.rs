#[pandaprobe::span]
fn step(n: u8) -> u8 {
    if n == 0 {
        return 9;
    }
    n
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert_eq!((step(0), step(1)), (9, 1));
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|├─ OTHER step OK|└─ OTHER step OK|".replace('|', "\n").as_str());
}
