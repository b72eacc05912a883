#[pandaprobe::trace(user_id = user)]
async fn job(user: String) -> usize {
    tokio::task::yield_now().await;
    user.len()
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        assert_eq!(pandaprobe::spawn(job("ada".to_owned())).await.unwrap(), 3);
    });
    captured.assert_user(Some("ada"));
    assert_eq!(captured.traces.len(), 1);
}
