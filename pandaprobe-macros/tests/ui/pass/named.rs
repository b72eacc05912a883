#[path = "../support.rs"]
mod support;

#[pandaprobe::trace(name = "a job")]
fn job() {}

fn main() {
    let captured = support::recorded(|| async {
        job();
    });
    captured.assert_tree("a job COMPLETED|".replace('|', "\n").as_str());
}
