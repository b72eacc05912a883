#[pandaprobe::span]
const fn job() {}

fn main() {}
