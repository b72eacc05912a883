//! The test kit that users get.

use pandaprobe::{
    Config, SpanKind, span,
    testing::{capture, capture_with},
    trace,
};

async fn job() {
    trace("job")
        .user_id("ada")
        .input("in")
        .scope(|job| async move {
            span("first").kind(SpanKind::Tool).scope(async { span("inner").run(|_| ()) }).await;
            span("second").run(|span| span.set_error("no"));
            job.set_output("out");
        })
        .await;
}

#[tokio::test]
async fn ids_and_times_are_the_same_each_time_if_wanted() {
    let record = async || {
        let captured = capture_with(Config::new().fixed_ids_and_clock(), job).await;
        serde_json::to_string_pretty(&captured.traces).unwrap_or_default()
    };
    let once = record().await;
    assert_eq!(once, record().await);
    assert!(once.contains("\"00000000-0000-4000-8000-000000000001\""), "{once}");
    assert!(once.contains("\"2026-01-01T00:00:00.000000Z\""), "{once}");
    assert!(once.contains("\"2026-01-01T00:00:00.007000Z\""), "each reading is a millisecond later: {once}");
}

#[tokio::test]
async fn assertions_that_hold_say_nothing() {
    let captured = capture(job).await;
    captured.assert_tree(
        "job COMPLETED user=ada\n├─ TOOL first OK\n│  └─ OTHER inner OK\n└─ OTHER second ERROR: no\n",
    );
    captured.assert_user(Some("ada"));
    captured.assert_nothing_lost();
    assert_eq!(captured.span("inner").parent_span_id, Some(captured.span("first").span_id));
}

fn message(assertion: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(assertion).err();
    panic.and_then(|panic| panic.downcast::<String>().ok()).map_or_else(String::new, |message| *message)
}

#[tokio::test]
async fn assertions_that_fail_print_the_tree() {
    let captured = capture(job).await;
    let captured = std::panic::AssertUnwindSafe(&captured);
    for message in [
        message(|| _ = captured.span("third")),
        message(|| _ = captured.trace("third")),
        message(|| captured.assert_tree("job\n")),
        message(|| captured.assert_user(None)),
        message(|| captured.assert_user(Some("bob"))),
    ] {
        assert!(message.contains("job COMPLETED user=ada\n├─ TOOL first OK"), "{message}");
    }
    let lossy = capture(|| async { pandaprobe::user("").run(|| trace("job").run(|_| ())) }).await;
    let lossy = std::panic::AssertUnwindSafe(&lossy);
    let message = message(|| lossy.assert_nothing_lost());
    assert!(message.contains("InvalidId") && message.contains("job COMPLETED"), "{message}");
}
