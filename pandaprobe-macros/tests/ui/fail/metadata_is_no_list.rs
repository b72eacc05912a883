#[pandaprobe::trace(metadata = "x")]
fn job() {}

fn main() {}
