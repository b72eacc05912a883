#[pandaprobe::span]
unsafe fn job() {}

fn main() {}
