//! The samples, one function each.

use std::{io, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use pandaprobe::{Cost, Messages, Score, SpanKind, TokenUsage, TraceId};
use serde_json::json;

/// A trace with one span of each sort of step, and all that can be set on them.
pub(crate) async fn steps() -> Option<TraceId> {
    pandaprobe::trace("rag")
        .input(Messages::new().user("What is new?"))
        .tags(["docs"])
        .metadata("plan", "pro")
        .scope(async |trace| {
            let found = pandaprobe::span("search").kind(SpanKind::Retriever).input(json!({"query": "news"}));
            found.scope(async { tokio::task::yield_now().await }).await;
            pandaprobe::span("answer").kind(SpanKind::Llm).model("gpt-x").run(|llm| {
                llm.set_input(Messages::new().system("Be brief.").user("What is new?"));
                llm.set_model_parameters(
                    json!({"temperature": 0.2}).as_object().cloned().unwrap_or_default(),
                );
                llm.set_first_token();
                llm.set_output(Messages::new().assistant("Not much."));
                llm.set_token_usage(TokenUsage::new(12, 3).reasoning(1).cache_read(8));
                llm.set_cost(Cost::new(0.0004).part("prompt", 0.0003));
            });
            trace.set_output(Messages::new().assistant("Not much."));
            trace.id()
        })
        .await
}

/// `Err` is an error of the span, and of the trace if it leaves that.
pub(crate) async fn errors() -> Result<(), io::Error> {
    let job = pandaprobe::trace("job").try_scope(async |_| {
        let refused = pandaprobe::span("tool").kind(SpanKind::Tool).try_run(|_| Err::<(), _>("not now"));
        // Dealt with: the trace goes on.
        assert!(refused.is_err());
        pandaprobe::span("disk").try_run(|_| Err::<(), _>(io::Error::other("full")))
    });
    job.await
}

/// Given up half-way: the trace and what is open in it are cancelled.
pub(crate) async fn cancelled() {
    let endless = pandaprobe::trace("endless").scope(async |_| std::future::pending::<()>().await);
    let _ = tokio::time::timeout(Duration::from_millis(5), endless).await;
}

/// A trace in a trace is one of its own, linked to the other.
pub(crate) fn nested() {
    pandaprobe::trace("outer").run(|_| pandaprobe::trace("inner").run(|_| ()));
}

/// Handles go where blocks do not: several tasks write to one trace.
pub(crate) async fn handles() {
    let trace = pandaprobe::trace("pipeline").start();
    let work = (0..2).map(|n| {
        let step = trace.span(format!("part-{n}")).start();
        tokio::spawn(async move {
            step.set_output(n);
            step.end();
        })
    });
    for part in work.collect::<Vec<_>>() {
        let _ = part.await;
    }
    trace.end();
}

/// Decorated functions: the answer is a stream, its steps are spans.
#[pandaprobe::trace(name = "chat", user_id = user)]
pub(crate) fn chat(user: String, question: String) -> impl Stream<Item = String> {
    let words = if question.is_empty() { vec!["What?"] } else { vec!["Not", " much."] };
    stream::iter(words).then(shout)
}

#[pandaprobe::span(kind = "CHAIN")]
async fn shout(piece: &str) -> String {
    piece.to_uppercase()
}

/// What people, programs and models think of it.
pub(crate) fn scores(trace: Option<TraceId>) {
    pandaprobe::score(trace, "helpfulness", 0.8);
    pandaprobe::score(trace, "grounded", true);
    pandaprobe::score(
        trace,
        "tone",
        Score::from("friendly").reason("it says thanks").metadata("by", "a person"),
    );
}
