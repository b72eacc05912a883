#[pandaprobe::trace(name)]
fn job() {}

fn main() {}
