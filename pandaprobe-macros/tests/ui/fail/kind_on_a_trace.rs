#[pandaprobe::trace(kind = "TOOL")]
fn job() {}

fn main() {}
