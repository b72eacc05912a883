#[pandaprobe::trace(skip(secret))]
fn job(n: u8) { let _ = n; }

fn main() {}
