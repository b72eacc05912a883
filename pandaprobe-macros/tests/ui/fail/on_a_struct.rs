#[pandaprobe::trace]
struct Job;

fn main() {}
