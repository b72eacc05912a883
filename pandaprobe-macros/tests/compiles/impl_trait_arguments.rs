#[pandaprobe::span]
fn step(items: impl Iterator<Item = u8>, f: impl Fn(u8) -> u8) -> u8 {
    items.map(f).sum()
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert_eq!(step([1, 2].into_iter(), |n| n * 2), 6);
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|└─ OTHER step OK|".replace('|', "\n").as_str());
}
