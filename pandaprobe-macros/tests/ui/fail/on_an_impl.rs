struct Job;

#[pandaprobe::span]
impl Job {}

fn main() {}
