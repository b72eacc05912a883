//! How a span ends: one test for each row of the table, by hand and through a wrapped client.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt, StreamExt};
use pandaprobe::{
    Handler, Run, SpanKind, SpanStatus, TraceData, TraceStatus, span,
    testing::{Captured, capture},
    trace,
};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
#[error("no route")]
struct Outer(#[source] std::io::Error);

fn broken() -> Outer {
    Outer(std::io::Error::other("cable cut"))
}

fn end_of(trace: &TraceData, name: &str) -> (SpanStatus, Option<String>, Option<String>) {
    let span = trace.span(name).unwrap();
    assert!(span.ended_at.is_some(), "{name} has no end");
    let end = span.metadata.get("pandaprobe.end").map(|end| end.as_str().unwrap().to_owned());
    (span.status, span.error.clone(), end)
}

async fn in_trace<F: Future>(f: impl FnOnce() -> F) -> Captured<F::Output> {
    capture(|| trace("t").scope(|_| f())).await
}

async fn panics<F: Future>(f: F) {
    assert!(AssertUnwindSafe(f).catch_unwind().await.is_err(), "the panic did not go on");
}

#[tokio::test]
async fn a_value_is_ok() {
    let captured = in_trace(|| async {
        span("future").scope(async { 1 }).await;
        span("closure").run(|_| 1);
        span("handle").start().end();
        drop(span("dropped handle").start());
        span("result").try_scope(async { Ok::<_, Outer>(1) }).await.unwrap();
        1
    })
    .await;
    let trace = captured.trace("t");
    for name in ["future", "closure", "handle", "dropped handle", "result"] {
        assert_eq!(end_of(trace, name), (SpanStatus::Ok, None, None), "{name}");
    }
    assert_eq!(trace.status, TraceStatus::Completed);
}

#[tokio::test]
async fn an_error_is_recorded_with_its_sources() {
    let captured = in_trace(|| async {
        let _ = span("future").try_scope(async { Err::<(), _>(broken()) }).await;
        let _ = span("closure").try_run(|_| Err::<(), _>(broken()));
        let _ = span("boxed")
            .try_scope(async { Err::<(), Box<dyn std::error::Error + Send + Sync>>(Box::new(broken())) })
            .await;
        span("handle").start().fail(broken());
        let handler = Handler::new();
        handler.started("run", None, Run::new("handler", SpanKind::Tool));
        handler.failed("run", broken());
    })
    .await;
    let trace = captured.trace("t");
    for name in ["future", "closure", "boxed", "handle", "handler"] {
        let error = Some("no route: cable cut".to_owned());
        assert_eq!(end_of(trace, name), (SpanStatus::Error, error, None), "{name}");
    }
    assert_eq!(trace.status, TraceStatus::Completed, "the trace's own root returned a value");
}

#[tokio::test]
async fn an_error_of_the_root_is_the_error_of_the_trace() {
    let captured = capture(|| async {
        let _ = trace("failed").try_scope(|_| async { Err::<(), _>(broken()) }).await;
        let _ = trace("failed sync").try_run(|_| Err::<(), _>(broken()));
        trace("failed handle").start().fail("plain words");
    })
    .await;
    for name in ["failed", "failed sync"] {
        let trace = captured.trace(name);
        assert_eq!(trace.status, TraceStatus::Error);
        assert_eq!(trace.metadata["pandaprobe.error"], json!("no route: cable cut"));
    }
    assert_eq!(captured.trace("failed handle").metadata["pandaprobe.error"], json!("plain words"));
}

#[tokio::test]
async fn a_panic_is_an_error_and_goes_on() {
    let captured = in_trace(|| async {
        panics(span("future").scope(async { panic!("at {}", 3) })).await;
        panics(span("in poll").scope(async {
            tokio::task::yield_now().await;
            panic!("later")
        }))
        .await;
        let closure = std::panic::catch_unwind(|| span("closure").run(|_| panic!("in closure")));
        assert!(closure.is_err());
        let bare = std::panic::catch_unwind(|| {
            let _handle = span("bare handle").start();
            panic!("not seen by the handle")
        });
        assert!(bare.is_err());
    })
    .await;
    let trace = captured.trace("t");
    let expected = [
        ("future", "panicked: at 3"),
        ("in poll", "panicked: later"),
        ("closure", "panicked: in closure"),
        ("bare handle", "panicked"),
    ];
    for (name, error) in expected {
        assert_eq!(end_of(trace, name), (SpanStatus::Error, Some(error.to_owned()), None), "{name}");
    }
}

#[tokio::test]
async fn a_panic_of_the_root_is_the_error_of_the_trace() {
    let captured = capture(|| async {
        panics(trace("future").scope(|_| async { panic!("root") })).await;
        panics(trace("before the future").scope(|_| -> std::future::Ready<()> { panic!("maker") })).await;
    })
    .await;
    for (name, error) in [("future", "panicked: root"), ("before the future", "panicked: maker")] {
        let trace = captured.trace(name);
        assert_eq!(trace.status, TraceStatus::Error, "{name}");
        assert_eq!(trace.metadata["pandaprobe.error"], json!(error), "{name}");
    }
}

#[tokio::test]
async fn a_dropped_future_is_cancelled() {
    let captured = in_trace(|| async {
        let slow = span("future").scope(std::future::pending::<()>());
        assert!(tokio::time::timeout(Duration::from_millis(5), slow).await.is_err());
        let never_polled = span("never polled").scope(async {});
        drop(never_polled);
    })
    .await;
    let trace = captured.trace("t");
    let cancelled = (SpanStatus::Error, Some("cancelled".to_owned()), Some("cancelled".to_owned()));
    assert_eq!(end_of(trace, "future"), cancelled);
    assert!(trace.span("never polled").is_none(), "a future that never ran was no step");
}

#[tokio::test]
async fn a_dropped_root_is_cancelled_with_what_is_inside_of_it() {
    let captured = capture(|| async {
        let slow = trace("t").scope(|_| span("inner").scope(std::future::pending::<()>()));
        assert!(tokio::time::timeout(Duration::from_millis(5), slow).await.is_err());
    })
    .await;
    let trace = captured.trace("t");
    assert_eq!(trace.status, TraceStatus::Error);
    assert_eq!(trace.metadata["pandaprobe.error"], json!("cancelled"));
    assert_eq!(trace.metadata["pandaprobe.end"], json!("cancelled"));
    assert_eq!(end_of(trace, "inner").1.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn a_stream_by_hand_ends_as_its_reader_leaves_it() {
    let numbers = || futures_util::stream::iter([1, 2, 3]);
    let captured = in_trace(|| async {
        let all: Vec<i32> = span("read").scope_stream(numbers()).collect().await;
        assert_eq!(all, [1, 2, 3]);
        let mut left = Box::pin(span("left").scope_stream(numbers()));
        left.next().await.unwrap();
        drop(left);
        let inside = numbers().map(|n| {
            span("inside").start().end();
            n
        });
        let _: Vec<i32> = span("outside").scope_stream(inside).collect().await;
        let breaks = numbers().map(|n| if n == 2 { panic!("two") } else { n });
        panics(span("breaks").scope_stream(breaks).collect::<Vec<i32>>()).await;
        drop(span("never polled").scope_stream(numbers()));
    })
    .await;
    let trace = captured.trace("t");
    assert_eq!(end_of(trace, "read"), (SpanStatus::Ok, None, None));
    assert_eq!(end_of(trace, "left"), (SpanStatus::Ok, None, Some("stopped_by_reader".to_owned())));
    assert_eq!(end_of(trace, "breaks"), (SpanStatus::Error, Some("panicked: two".to_owned()), None));
    assert!(trace.span("never polled").is_none());
    let (inside, outside) = (trace.span("inside").unwrap(), trace.span("outside").unwrap());
    assert_eq!(inside.parent_span_id, Some(outside.span_id));
}

#[tokio::test]
async fn a_stream_of_results_failed_if_its_last_item_did() {
    let items = |items: &[bool]| {
        let items: Vec<Result<(), Outer>> =
            items.iter().map(|ok| ok.then_some(()).ok_or_else(broken)).collect();
        futures_util::stream::iter(items)
    };
    let captured = capture(|| async {
        trace("failed")
            .scope(async |_| {
                assert_eq!(span("recovered").try_scope_stream(items(&[false, true])).count().await, 2);
                assert_eq!(span("failed").try_scope_stream(items(&[true, false])).count().await, 2);
                let mut left = Box::pin(span("left at once").try_scope_stream(items(&[true, false, true])));
                while let Some(Ok(())) = left.next().await {}
                drop(left);
                let mut left = Box::pin(span("left earlier").try_scope_stream(items(&[true, false])));
                left.next().await.unwrap().unwrap();
            })
            .await;
        assert_eq!(trace("whole").try_scope_stream(items(&[false])).count().await, 1);
    })
    .await;
    let trace = captured.trace("failed");
    let error = Some("no route: cable cut".to_owned());
    assert_eq!(end_of(trace, "recovered"), (SpanStatus::Ok, None, None));
    assert_eq!(end_of(trace, "failed"), (SpanStatus::Error, error.clone(), None));
    assert_eq!(end_of(trace, "left at once"), (SpanStatus::Error, error, None));
    assert_eq!(end_of(trace, "left earlier"), (SpanStatus::Ok, None, Some("stopped_by_reader".to_owned())));
    let whole = captured.trace("whole");
    assert_eq!(
        (whole.status, &whole.metadata["pandaprobe.error"]),
        (TraceStatus::Error, &json!("no route: cable cut"))
    );
}

#[tokio::test]
async fn an_error_whose_display_panics_is_still_returned() {
    #[derive(Debug)]
    struct Rude;
    impl std::fmt::Display for Rude {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("rude")
        }
    }
    impl std::error::Error for Rude {}
    let captured =
        in_trace(|| async { span("s").try_scope(async { Err::<(), _>(Rude) }).await.is_err() }).await;
    assert!(captured.output);
    assert_eq!(end_of(captured.trace("t"), "s").0, SpanStatus::Error);
}

#[tokio::test]
async fn what_destructors_record_belongs_to_the_span_that_is_dropped() {
    struct Cleanup;
    impl Drop for Cleanup {
        fn drop(&mut self) {
            span("cleanup").start().end();
        }
    }
    let captured = in_trace(|| async {
        let slow = span("work").scope(async {
            let _cleanup = Cleanup;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(5), slow).await.is_err());
    })
    .await;
    assert_eq!(
        captured.tree(),
        "t COMPLETED\n└─ OTHER work ERROR: cancelled (cancelled)\n   └─ OTHER cleanup OK\n"
    );
}

#[tokio::test]
async fn an_error_set_on_the_way_stays_and_a_later_one_beats_it() {
    let captured = in_trace(|| async {
        span("soft").run(|span| span.set_error("soft error"));
        let _ = span("both").try_run(|span| {
            span.set_error("first");
            Err::<(), _>("second")
        });
    })
    .await;
    let trace = captured.trace("t");
    assert_eq!(end_of(trace, "soft"), (SpanStatus::Error, Some("soft error".to_owned()), None));
    assert_eq!(end_of(trace, "both").1.as_deref(), Some("second"));
}
