#[pandaprobe::trace(skip(secret))]
fn job() {}

fn main() {}
