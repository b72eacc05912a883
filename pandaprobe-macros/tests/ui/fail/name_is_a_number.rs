#[pandaprobe::trace(name = 7)]
fn job() {}

fn main() {}
