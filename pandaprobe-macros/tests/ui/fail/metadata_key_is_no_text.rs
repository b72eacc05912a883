#[pandaprobe::trace(metadata = {n: 1})]
fn job() {}

fn main() {}
