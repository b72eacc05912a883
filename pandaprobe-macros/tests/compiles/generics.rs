use std::fmt::Debug;

#[pandaprobe::span]
fn step<'a, T: Debug + Clone, const N: usize>(many: &'a [T; N]) -> &'a T
where
    T: PartialEq,
{
    &many[0]
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                assert_eq!(step(&[1, 2]), &1);
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|└─ OTHER step OK|".replace('|', "\n").as_str());
}
