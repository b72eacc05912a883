#[path = "../support.rs"]
mod support;

use pandaprobe::SpanKind;

#[pandaprobe::span(kind = SpanKind::Agent)]
fn step() {}

fn main() {
    let captured = support::recorded(|| async {
        pandaprobe::trace("t").scope(async |_| { step(); }).await;
    });
    captured.assert_tree("t COMPLETED|└─ AGENT step OK|".replace('|', "\n").as_str());
}
