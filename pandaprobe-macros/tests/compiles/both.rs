// The attribute next to the function is the outer one: it is applied last.
#[pandaprobe::span]
#[pandaprobe::trace]
fn job() {}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        job();
    });
    captured.assert_tree("job COMPLETED|└─ OTHER job OK|".replace('|', "\n").as_str());
}
