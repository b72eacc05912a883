//! Switched off, recording costs nothing. Whether anything is on is the process's, so this is one test in a process of
//! its own.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::pin,
    task::{Context, Waker},
};

use axum::http::{Request, Response};
use pandaprobe::{PandaProbeLayer, SpanKind, TokenUsage, span, trace};
use tower::{Layer, Service, service_fn};

#[pandaprobe::trace(user_id = user, session_id = number, tags = ["one"], metadata = {"number": number})]
fn decorated(user: &str, number: u64) -> usize {
    pandaprobe::span("inside").run(|_| user.len())
}

#[test]
fn nothing_is_allocated_when_nothing_is_recorded() {
    // The first call looks at the environment, which has no key.
    trace("first").run(|_| ());
    // The first one makes the place of the process default.
    pandaprobe::set_user("user-abc");
    let layer = PandaProbeLayer::new().user_header("x-user-id").tag("http").metadata("k", "v").trace(true);
    let mut service =
        layer.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(String::new())))));
    let used = allocation_counter::measure(|| {
        for _ in 0..100 {
            let work = trace("a name that is not short at all").scope(|trace| async move {
                trace.set_output("an output that is not short at all");
                trace.set_metadata("key", "value");
                let step =
                    span("another name that is not short").kind(SpanKind::Tool).model("model").scope(async {
                        pandaprobe::current_span().is_none() && pandaprobe::current_trace_id().is_none()
                    });
                assert!(step.await);
                span("closure").run(|span| {
                    span.set_output("an output that is not short at all");
                    span.set_token_usage(TokenUsage::new(1, 2));
                });
                let handle = trace.span("handle").start();
                handle.fail("an error that is not short at all");
            });
            assert!(pin!(work).poll(&mut Context::from_waker(Waker::noop())).is_ready());
            // An id that is said explicitly is not copied either.
            trace("named").user_id("user-abc").session_id("conversation-123").tags(["one"]).run(|_| ());
            decorated("user-abc", 7);
            let scope =
                pandaprobe::user("user-abc").session("conversation-123").tag("one").metadata("key", 1);
            let scoped = scope.scope(async {
                pandaprobe::set_user("user-def");
                pandaprobe::session("inner").run(|| trace("in a scope").run(|_| ()));
            });
            assert!(pin!(scoped).poll(&mut Context::from_waker(Waker::noop())).is_ready());
            let answer = service.call(Request::new(()));
            assert!(pin!(answer).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
    });
    assert_eq!(used.count_total, 0, "{used:?}");
}
