#[path = "../support.rs"]
mod support;

#[pandaprobe::trace(name = format!("job-{n}"))]
fn job(n: u8) { let _ = n; }

fn main() {
    let captured = support::recorded(|| async {
        job(7);
    });
    captured.assert_tree("job-7 COMPLETED|".replace('|', "\n").as_str());
}
