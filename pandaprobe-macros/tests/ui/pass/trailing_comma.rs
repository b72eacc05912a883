#[path = "../support.rs"]
mod support;

#[pandaprobe::span(kind = "TOOL",)]
fn step() {}

fn main() {
    let captured = support::recorded(|| async {
        pandaprobe::trace("t").scope(async |_| { step(); }).await;
    });
    captured.assert_tree("t COMPLETED|└─ TOOL step OK|".replace('|', "\n").as_str());
}
