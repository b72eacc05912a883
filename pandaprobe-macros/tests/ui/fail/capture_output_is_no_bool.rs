#[pandaprobe::trace(capture_output = "no")]
fn job() {}

fn main() {}
