#[pandaprobe::trace(tags = "x")]
fn job() {}

fn main() {}
