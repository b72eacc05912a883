#[pandaprobe::trace("job")]
fn job() {}

fn main() {}
