#[path = "../support.rs"]
mod support;

#[pandaprobe::trace()]
fn job() {}

fn main() {
    let captured = support::recorded(|| async {
        job();
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
}
