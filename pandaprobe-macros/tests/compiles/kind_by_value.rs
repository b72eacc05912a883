use pandaprobe::SpanKind;

#[pandaprobe::span(kind = SpanKind::Agent)]
fn step() {}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                step();
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|└─ AGENT step OK|".replace('|', "\n").as_str());
}
