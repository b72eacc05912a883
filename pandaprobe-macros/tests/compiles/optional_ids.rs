#[pandaprobe::trace(user_id = user)]
fn job(user: Option<String>) {
    drop(user);
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job(None);
        job(Some("ada".to_owned()));
    });
    captured.assert_tree("job COMPLETED|job COMPLETED user=ada|".replace('|', "\n").as_str());
}
