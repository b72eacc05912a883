#[pandaprobe::span]
fn down(n: u8) -> u8 {
    if n == 0 { 0 } else { down(n - 1) }
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                down(2);
            })
            .await;
    });
    captured.assert_tree(
        "t COMPLETED|└─ OTHER down OK|   └─ OTHER down OK|      └─ OTHER down OK|"
            .replace('|', "\n")
            .as_str(),
    );
}
