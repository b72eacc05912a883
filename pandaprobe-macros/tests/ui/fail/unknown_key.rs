#[pandaprobe::trace(nmae = "x")]
fn job() {}

fn main() {}
