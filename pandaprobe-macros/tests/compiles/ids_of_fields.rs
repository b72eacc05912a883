struct User {
    id: String,
}

#[pandaprobe::trace(user_id = user.id, session_id = "s")]
fn job(user: &User) {
    let _ = &user.id;
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job(&User { id: "ada".to_owned() });
    });
    captured.assert_tree("job COMPLETED session=s user=ada|".replace('|', "\n").as_str());
}
