#[pandaprobe::span(kind = "TOOOL")]
fn job() {}

fn main() {}
