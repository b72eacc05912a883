//! Many users at once: nothing of one is recorded for another.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use adk_agent::{LlmAgentBuilder, ParallelAgent, SequentialAgent};
use adk_core::{Agent, AgentInvoker, LlmRequest, Part};
use futures_util::{StreamExt, future::join_all};
use pandaprobe_adk::{AdkHandler, TracedRunner};
use pandaprobe_core::{
    Client, Config, InCurrentScope, MemoryExporter, Report, SpanData, TraceData, span, user,
};
use serde_json::json;

use crate::kit::{Scripted, answer, call, partial, plain_runner, question, say, text, tool};

const RUNS: usize = 120;

/// The run that a request is of, as `user-7.`: all that is said names it.
fn who(request: &LlmRequest) -> String {
    let texts = request.contents.iter().flat_map(|content| &content.parts).filter_map(Part::text);
    let all: String = texts.collect();
    named(&all).into_iter().next().unwrap_or_default()
}

fn named(text: &str) -> HashSet<String> {
    let starts = text.match_indices("user-").map(|(at, _)| &text[at..]);
    starts.map(|rest| rest[..rest.find('.').unwrap_or(rest.len())].to_owned()).collect()
}

/// A few milliseconds, each time others.
async fn pause(who: &str, nth: u8) {
    let mut hasher = DefaultHasher::new();
    (who, nth).hash(&mut hasher);
    tokio::time::sleep(Duration::from_micros(hasher.finish() % 3000)).await;
}

fn model(name: &'static str) -> Arc<Scripted> {
    Scripted::new(name, |_, request| {
        let who = who(request);
        let is_done = request.contents.last().is_some_and(|content| content.role == "function");
        match (is_done, request.tools.is_empty()) {
            (false, false) => vec![answer(vec![call("work", json!({"who": format!("{who}.")}))])],
            (true, false) => {
                vec![partial(vec![text("done ")]), partial(vec![text(&format!("{who}."))]), crate::kit::end()]
            }
            (_, true) => say(&format!("told {who}.")),
        }
    })
}

/// A tool that takes its time, asks a model here and in a task of its own, and records steps.
fn work(handler: &AdkHandler) -> Arc<dyn adk_core::Tool> {
    let inner = handler.llm(model("inner"));
    handler.tool(tool("work", move |_, arguments| {
        let inner = Arc::clone(&inner);
        async move {
            let who = arguments["who"].as_str().unwrap().to_owned();
            pause(&who, 1).await;
            let ask = |inner: Arc<dyn adk_core::Llm>, who: String| async move {
                let request = LlmRequest::new("inner", vec![question(&format!("inner {who}"))]);
                let answer = inner.generate_content(request, true).await?;
                answer.for_each(|_| pause(&who, 2)).await;
                Ok::<_, adk_core::AdkError>(())
            };
            ask(Arc::clone(&inner), who.clone()).await?;
            tokio::spawn(ask(Arc::clone(&inner), who.clone()).in_current_scope()).await.unwrap()?;
            span("audit").input(format!("audit {who}")).scope(pause(&who, 3)).await;
            Ok(json!(format!("worked {who}")))
        }
    }))
}

fn agents(handler: &AdkHandler) -> Arc<dyn Agent> {
    let worker = |name: &str| {
        let agent = LlmAgentBuilder::new(name).model(handler.llm(model("m"))).tool(work(handler));
        handler.agent(Arc::new(agent.build().unwrap()))
    };
    let fan = ParallelAgent::new("fan", vec![worker("left"), worker("middle"), worker("right")]);
    handler.agent(Arc::new(SequentialAgent::new("row", vec![worker("first"), handler.agent(Arc::new(fan))])))
}

/// How the user of a run is said.
async fn run(runner: &TracedRunner, base: &AdkHandler, nth: usize) {
    let id = format!("user-{nth}");
    let (words, session) = (question(&format!("I am {id}.")), format!("session-{nth}"));
    let events = match nth % 3 {
        0 => runner.invoke(&id, &session, words).await.unwrap(),
        1 => user(id.as_str()).scope(runner.invoke("user", &session, words)).await.unwrap(),
        _ => {
            let runner = runner.traced_by(&base.clone().user_id(id.as_str()));
            runner.invoke("somebody", &session, words).await.unwrap()
        }
    };
    let events: Vec<_> = events.collect().await;
    assert!(events.iter().all(Result::is_ok));
}

fn told(span: &SpanData) -> HashSet<String> {
    named(&format!("{} {}", json!(span.input), json!(span.output)))
}

fn check(trace: &TraceData) -> String {
    let user = trace.user_id.clone().unwrap();
    let spans: HashSet<String> = trace.spans.iter().flat_map(told).collect();
    assert_eq!(spans, HashSet::from([user.clone()]), "all of a trace is of its user");
    let parent = |span: &SpanData| {
        trace
            .spans
            .iter()
            .find(|parent| Some(parent.span_id) == span.parent_span_id)
            .map(|span| span.name.as_str())
    };
    for span in &trace.spans {
        let expected: &[&str] = match span.name.as_str() {
            "trips" => continue,
            "row" => &["trips"],
            "first" | "fan" => &["row"],
            "left" | "middle" | "right" => &["fan"],
            "m" | "work" => &["first", "left", "middle", "right"],
            "inner" | "audit" => &["work"],
            other => panic!("{other}"),
        };
        assert!(
            parent(span).is_some_and(|parent| expected.contains(&parent)),
            "{} below {:?}",
            span.name,
            parent(span)
        );
    }
    // The run, two workflows, and four agents with two calls of the model and a tool that does three things.
    assert_eq!(trace.spans.len(), 3 + 4 * (1 + 2 + 1 + 3));
    user
}

/// Runs all of them as `all` does, and checks what was recorded.
async fn crowd(all: impl AsyncFnOnce(TracedRunner, AdkHandler)) {
    let exporter = MemoryExporter::default();
    let reports: Arc<Mutex<Vec<Report>>> = Arc::default();
    let heard = Arc::clone(&reports);
    let config = Config::new().exporter(exporter.clone());
    let config = config.on_error(move |report| heard.lock().unwrap().push(report.clone()));
    let client = Client::new(config).unwrap();
    let handler = AdkHandler::new().client(client.clone());
    let runner = handler.runner(plain_runner(agents(&handler), &[]).await);
    all(runner, handler).await;
    client.flush(Duration::from_secs(30)).unwrap();
    client.shutdown(Duration::from_secs(30)).unwrap();
    assert_eq!((client.stats().dropped_total(), client.stats().open), (0, 0));
    assert!(reports.lock().unwrap().is_empty());
    let users: HashSet<String> = exporter.traces().iter().map(check).collect();
    assert_eq!((exporter.traces().len(), users.len()), (RUNS, RUNS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_of_many_users_do_not_mix() {
    crowd(async |runner, handler| {
        let one = |nth| {
            let (runner, handler) = (runner.clone(), handler.clone());
            tokio::spawn(async move { run(&runner, &handler, nth).await })
        };
        let runs: Vec<_> = (0..RUNS).map(one).collect();
        assert!(join_all(runs).await.iter().all(Result::is_ok));
    })
    .await;
}

/// All in one task: whoever is polled first polls no other's work.
#[tokio::test]
async fn runs_that_are_polled_together_do_not_mix() {
    crowd(async |runner, handler| drop(join_all((0..RUNS).map(|nth| run(&runner, &handler, nth))).await))
        .await;
}
