#[path = "../support.rs"]
mod support;

#[pandaprobe::trace(user_id = user)]
fn job(user: Option<String>) { drop(user); }

fn main() {
    let captured = support::recorded(|| async {
        job(None);
        job(Some("ada".to_owned()));
    });
    captured.assert_tree("job COMPLETED|job COMPLETED user=ada|".replace('|', "\n").as_str());
}
