#[pandaprobe::trace(name = "a", name = "b")]
fn job() {}

fn main() {}
