#[pandaprobe::span(user_id = "u")]
fn job() {}

fn main() {}
