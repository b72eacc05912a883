pub mod inner {
    /// Documented.
    #[must_use]
    #[inline]
    #[pandaprobe::trace]
    pub(crate) fn job() -> u8 {
        1
    }
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        assert_eq!(inner::job(), 1);
    });
    captured.assert_tree("job COMPLETED|".replace('|', "\n").as_str());
}
