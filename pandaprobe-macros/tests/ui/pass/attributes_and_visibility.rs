#[path = "../support.rs"]
mod support;

pub mod inner {
    /// Documented.
    #[must_use]
    #[inline]
    #[pandaprobe::trace]
    pub(crate) fn job() -> u8 { 1 }
}

fn main() {
    let captured = support::recorded(|| async {
        assert_eq!(inner::job(), 1);
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
}
