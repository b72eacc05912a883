#[path = "../support.rs"]
mod support;

// The attribute next to the function is the outer one: it is applied last.
#[pandaprobe::span]
#[pandaprobe::trace]
fn job() {}

fn main() {
    let captured = support::recorded(|| async {
        job();
    });
    captured.assert_tree("job COMPLETED|└─ OTHER job OK|".replace('|', "\n").as_str());
}
