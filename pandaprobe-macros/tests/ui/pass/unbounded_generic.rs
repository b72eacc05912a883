#[path = "../support.rs"]
mod support;

struct Plain;

#[pandaprobe::span]
fn step<T>(value: T) -> T { value }

fn main() {
    let captured = support::recorded(|| async {
        pandaprobe::trace("t").scope(async |_| { let _ = step(Plain); }).await;
    });
    captured.assert_tree("t COMPLETED|└─ OTHER step OK|".replace('|', "\n").as_str());
}
