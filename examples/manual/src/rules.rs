//! The rules of contexts, spans, decorators, scores and captures, one function each. The project's tests compare what these put
//! on the wire with what the same program in Python does.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use futures_util::StreamExt;
use pandaprobe::{
    Cost, Messages, Scope, Score, SpanKind, TokenUsage, TraceId, TraceStatus, capture_traces, session,
    set_session, set_user, span, trace,
};
use serde_json::json;

fn asked(text: &str) -> Messages {
    Messages::new().user(text)
}

fn answered(text: &str) -> Messages {
    Messages::new().assistant(text)
}

fn note(name: &str) {
    trace(name).run(|_| ());
}

/// Scopes say whose a trace is, and nothing of what comes after them.
pub(crate) fn scopes() {
    session("sess-scope").user("user-scope").run(|| {
        let trace = trace("scoped").input(asked("hello")).tags(["a", "b"]).metadata("k", 1);
        trace.run(|trace| {
            trace.set_output(answered("hi"));
            trace.set_metadata("nested", json!({"x": [1, 2.5, null, true]}));
        });
    });
    note("after-scope");
}

/// The process default, for programs of one user: a scope beats it, and a task or thread has it by hand-over alone.
pub(crate) async fn defaults() {
    set_session("sess-set");
    set_user("user-set");
    let set = trace("set").input(asked("hello"));
    set.scope(|trace| async move { trace.set_output(answered("hi")) }).await;
    let inside = async {
        note("set-inside-scope");
        set_session("sess-set-inside-scope");
        tokio::task::yield_now().await;
        note("set-after-scope-entry");
    };
    session("sess-scope").scope(inside).await;
    note("after-scope-exit");
    let child = pandaprobe::spawn(async {
        set_user("user-child-task");
        note("child-task");
    });
    let _ = child.await;
    note("parent-after-child-set");
    let _ = std::thread::spawn(|| note("plain-thread")).join();
    let _ = pandaprobe::spawn_blocking(|| note("plain-thread")).await;
}

/// What is explicit beats scopes, and scopes beat what was set.
pub(crate) fn precedence() {
    set_session("sess-set");
    set_user("user-set");
    session("sess-scope").user("user-scope").run(|| {
        let explicit = trace("explicit").session_id("sess-explicit").user_id("user-explicit");
        explicit.run(|_| {
            trace("nested-trace").run(|_| span("in-nested").run(|_| ()));
            span("after-nested").run(|_| ());
        });
        trace("explicit-empty-string").session_id("").user_id("").run(|_| ());
        // A decorated function of one argument, `messages`, that returns messages.
        let f = trace("f").session_id("sess-deco").user_id("user-deco");
        let f = f.tag("t").metadata("m", 1).input(asked("q"));
        f.run(|trace| trace.set_output(answered("x")));
    });
}

/// Spans of each kind, and all that can be set on them.
pub(crate) fn setters() {
    trace("nested").input(asked("q")).run(|trace| {
        span("agent").kind(SpanKind::Agent).input(json!({"q": "free form"})).metadata("step", 1).run(|_| {
            span("llm").kind(SpanKind::Llm).model("gpt-x").run(|llm| {
                llm.set_input(Messages::new().system("sys").user("q"));
                llm.set_output(answered("x"));
                llm.set_model("gpt-x-2025");
                let parameters = json!({"temperature": 0.5});
                llm.set_model_parameters(parameters.as_object().cloned().unwrap_or_default());
                llm.set_token_usage(TokenUsage::new(3, 4).reasoning(1));
                llm.set_cost(Cost::new(0.01).part("prompt", 0.004));
                llm.set_completion_start_time(UNIX_EPOCH + Duration::from_micros(1_735_787_045_678_901));
                llm.set_metadata("reasoning_summary", "because");
            });
            span("tool").kind(SpanKind::Tool).run(|tool| {
                tool.set_input("{\"city\":\"x\"}");
                tool.set_output(json!(["r", ["tuple", 1], {"1": 2}, "{3}", "<class 'object'>"]));
            });
            span("retr").kind(SpanKind::Retriever).run(|_| ());
        });
        for (name, kind) in
            [("emb", SpanKind::Embedding), ("chain", SpanKind::Chain), ("other", SpanKind::Other)]
        {
            span(name).kind(kind).run(|_| ());
        }
        span("llm-bad-io").kind(SpanKind::Llm).run(|llm| {
            llm.set_input("not messages");
            llm.set_output(json!({"foo": 1}));
        });
        trace.set_metadata("more", true);
        trace.set_output(answered("done"));
    });
    trace("naive-time").run(|_| {
        let time = UNIX_EPOCH + Duration::from_secs(1_735_787_045);
        span("s").run(|span| span.set_completion_start_time(time));
    });
}

/// Errors, and work that was given up.
pub(crate) async fn ends() {
    let boom = trace("boom").input(asked("q")).try_run(|_| {
        span("outer").kind(SpanKind::Agent).try_run(|_| {
            let inner = span("inner").kind(SpanKind::Tool).input(json!({"a": 1}));
            inner.try_run(|_| Err::<(), _>("kaputt"))
        })
    });
    assert_eq!(boom, Err("kaputt"));
    trace("handled").run(|trace| {
        assert_eq!(span("fails").try_run(|_| Err::<(), _>("")), Err(""));
        span("soft").run(|span| span.set_error("soft error"));
        trace.set_status(TraceStatus::Running);
    });
    let raised = trace("status-then-raise").try_run(|trace| {
        trace.set_status(TraceStatus::Completed);
        Err::<(), _>("raised")
    });
    assert_eq!(raised, Err("raised"));
    let cancelled = trace("cancelled").scope(|_| span("sleep").scope(pending::<()>()));
    assert!(tokio::time::timeout(Duration::from_millis(50), cancelled).await.is_err());
}

/// Scores of a trace. The last one is out of the range that the backend takes: it is not sent, and `on_error` hears of it.
pub(crate) fn scores(id: Option<TraceId>, between: impl Fn()) {
    pandaprobe::score(id, "quality", Score::from(0.8).reason("good").metadata("by", "me"));
    between();
    pandaprobe::score(id, "ok", true);
    between();
    pandaprobe::score(id, "label", "positive");
    pandaprobe::score(id, "out-of-range", 4.5);
}

/// Functions that are traces and steps. What is a generator in Python is a stream here.
mod decorated {
    use futures_util::{Stream, stream};
    use serde_json::{Value, json};

    #[pandaprobe::trace(metadata = {"static": 1})]
    pub(super) fn chat(messages: &[Value]) -> Value {
        let _ = messages;
        json!({"messages": [{"role": "ai", "content": "first"}, {"role": "ai", "content": "last"}]})
    }

    #[pandaprobe::trace]
    pub(super) fn plain(query: &str, n: u8) -> String {
        let _ = n;
        format!("raw string {query}")
    }

    pub(super) struct Service;

    impl Service {
        #[pandaprobe::trace]
        pub(super) fn method(&self, q: &str) -> Value {
            self.sp(q)
        }

        #[pandaprobe::span(kind = "TOOL", metadata = {"m": 1})]
        fn sp(&self, q: &str) -> Value {
            json!({"a": q})
        }
    }

    #[pandaprobe::trace]
    pub(super) async fn aio(messages: Vec<Value>) -> Value {
        asp(messages).await
    }

    #[pandaprobe::span(kind = "LLM", model = "m1")]
    async fn asp(messages: Vec<Value>) -> Value {
        let _ = messages;
        json!({"messages": [{"role": "assistant", "content": "async"}]})
    }

    #[pandaprobe::trace]
    pub(super) fn r#gen(q: &str) -> impl Stream<Item = String> + use<> {
        stream::iter([q.to_owned()])
    }

    #[pandaprobe::trace]
    pub(super) fn bad(q: &str) -> Result<String, String> {
        Err(format!("no {q}"))
    }

    #[pandaprobe::span]
    pub(super) fn alone() -> u8 {
        1
    }
}

/// What decorated functions record of their arguments and values.
pub(crate) async fn decorators() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    assert_eq!(decorated::alone(), 1);
    decorated::chat(&[message("human", "one"), message("ai", "two"), message("human", "three")]);
    assert_eq!(decorated::plain("hi", 2), "raw string hi");
    decorated::Service.method("q");
    decorated::aio(vec![message("user", "q")]).await;
    assert_eq!(decorated::r#gen("q").count().await, 1);
    assert!(decorated::bad("q").is_err());
}

/// What collects the traces of a part of the program. Gives the names that it heard of.
pub(crate) fn captures(flush: impl Fn()) -> Vec<String> {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&reported);
    let outer =
        capture_traces().metadata("cap", 1).metadata("dup", "cap").session_id("sess-cap").max_traces(2);
    let heard = move |name: &str| hears.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    let outer = outer.on_submit(move |trace| heard(&trace.name)).start();
    outer.run(|| {
        for i in 0..3 {
            let trace = trace(format!("t{i}")).session_id("own");
            trace.metadata("dup", "trace").metadata("i", i).run(|_| ());
        }
    });
    assert_eq!((outer.trace_ids().len(), outer.overflow()), (2, true));
    let inner = capture_traces().start();
    capture_traces().session_id("lost").start().run(|| {
        inner.run(|| trace("inner-capture").session_id("sess-outer").run(|_| ()));
    });
    assert_eq!((inner.trace_ids().len(), inner.overflow()), (1, false));
    note("outside");
    let closed = capture_traces().metadata("cap", "async").session_id("s-async").start();
    let here = closed.run(Scope::current);
    here.run(|| note("late-child"));
    assert!(closed.trace_ids().is_empty());
    flush();
    reported.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
