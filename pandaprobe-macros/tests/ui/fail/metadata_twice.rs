#[pandaprobe::span(metadata = {"plan": "pro", "plan": "free"})]
fn step() {}

fn main() {}
