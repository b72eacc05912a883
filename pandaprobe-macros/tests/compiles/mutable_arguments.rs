#[pandaprobe::span]
fn step(many: &mut Vec<u8>, mut n: u8) {
    n += 1;
    many.push(n);
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                let mut many = vec![];
                step(&mut many, 1);
                assert_eq!(many, [2]);
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|└─ OTHER step OK|".replace('|', "\n").as_str());
}
