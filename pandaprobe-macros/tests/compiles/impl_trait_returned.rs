#[pandaprobe::span]
fn step(n: u8) -> impl Iterator<Item = u8> + use<> {
    0..n
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert_eq!(step(3).count(), 3);
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|└─ OTHER step OK|".replace('|', "\n").as_str());
}
