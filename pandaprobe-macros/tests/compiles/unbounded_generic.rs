struct Plain;

#[pandaprobe::span]
fn step<T>(value: T) -> T {
    value
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                let _ = step(Plain);
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|└─ OTHER step OK|".replace('|', "\n").as_str());
}
