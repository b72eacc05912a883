#[pandaprobe::span]
extern "C" fn job() {}

fn main() {}
