#[pandaprobe::span]
async fn step(n: u8) -> Option<u8> {
    let n = Some(n).filter(|n| *n > 0)?;
    if n > 5 {
        return Some(5);
    }
    Some(n)
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert_eq!((step(0).await, step(9).await, step(2).await), (None, Some(5), Some(2)));
            })
            .await;
    });
    captured.assert_tree(
        "t COMPLETED|├─ OTHER step OK|├─ OTHER step OK|└─ OTHER step OK|".replace('|', "\n").as_str(),
    );
}
