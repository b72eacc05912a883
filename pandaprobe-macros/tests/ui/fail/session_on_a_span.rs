#[pandaprobe::span(session_id = "s")]
fn job() {}

fn main() {}
