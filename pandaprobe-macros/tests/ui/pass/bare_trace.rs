#[path = "../support.rs"]
mod support;

#[pandaprobe::trace]
fn job(n: u8) -> u8 { n }

fn main() {
    let captured = support::recorded(|| async {
        assert_eq!(job(1), 1);
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
}
