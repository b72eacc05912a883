#[pandaprobe::trace(skip = "n")]
fn job(n: u8) { let _ = n; }

fn main() {}
