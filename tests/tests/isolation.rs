//! One user's activity never lands under another's name.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::HashMap, time::Duration};

use async_openai::{Client, config::OpenAIConfig};
use futures_util::{StreamExt, future::join_all};
use pandaprobe::{
    InCurrentScope, OpenAiHandler, ReportKind, Scope, TraceData,
    testing::{Captured, capture},
};
use pandaprobe_tests::provider::{Exchange, Provider};
use serde_json::{Value, json};

/// Answers with what it was asked, as a stream if that was asked for.
fn echo() -> Provider {
    Provider::start_with(|request, _| {
        let body = request.json.clone().unwrap_or_default();
        let text = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
        let head = |delta: Value, finish: Value| {
            json!({"id": "1", "object": "chat.completion.chunk", "created": 1,
            "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        };
        if body["stream"] == json!(true) {
            let (one, two) = text.split_at(text.len() / 2);
            let events = [
                head(json!({"content": one}), Value::Null),
                head(json!({"content": two}), Value::Null),
                head(json!({}), json!("stop")),
                json!("[DONE]"),
            ];
            return Exchange::sse(events);
        }
        Exchange::json(
            200,
            json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}),
        )
    })
}

fn client(provider: &Provider) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("k");
    OpenAiHandler::new().wrap(Client::with_config(config))
}

fn body(owner: &str, stream: bool) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": owner}], "stream": stream})
}

async fn ask(client: &Client<OpenAIConfig>, owner: &str) {
    let answer: Value = client.chat().create_byot(body(owner, false)).await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], owner);
}

async fn read(client: &Client<OpenAIConfig>, owner: &str, chunks: usize) {
    let mut stream = client.chat().create_stream_byot::<_, Value>(body(owner, true)).await.unwrap();
    for _ in 0..chunks {
        match stream.next().await {
            Some(chunk) => drop(chunk.unwrap()),
            None => break,
        }
        tokio::task::yield_now().await;
    }
}

/// Whose a trace is by what was said in it, beside whom it is recorded for.
fn owner(trace: &TraceData) -> String {
    let input = trace.input.as_ref().unwrap();
    input["messages"][0]["content"].as_str().or(input.as_str()).unwrap().to_owned()
}

fn check(captured: &Captured<()>) -> HashMap<String, usize> {
    let ids: HashMap<String, &TraceData> =
        captured.traces.iter().map(|trace| (trace.trace_id.to_string(), trace)).collect();
    let mut counts = HashMap::new();
    for trace in &captured.traces {
        let owner = owner(trace);
        let user = trace.user_id.as_deref().unwrap_or_else(|| panic!("a trace of {owner} has no user"));
        assert_eq!(user, owner, "a trace landed on another user");
        let person = user.split('/').next().unwrap();
        assert_eq!(trace.session_id.as_deref(), Some(format!("session of {person}").as_str()));
        let spans: Vec<_> = trace.spans.iter().map(|span| span.span_id).collect();
        for span in &trace.spans {
            assert!(
                span.parent_span_id.is_none_or(|parent| spans.contains(&parent)),
                "a parent of another trace"
            );
            if let Some(input) = &span.input {
                assert_eq!(input["messages"][0]["content"], json!(owner), "a span landed in another's trace");
            }
        }
        if let Some(parent) = trace.metadata.get("pandaprobe.parent_trace_id") {
            let parent = ids[parent.as_str().unwrap()].user_id.as_deref().unwrap();
            assert_eq!(parent.split('/').next(), Some(person), "it was begun in another person's trace");
        }
        *counts.entry(trace.name.clone()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_users_at_once_are_never_mixed_up() {
    const USERS: usize = 1_000;
    let provider = echo();
    let client = client(&provider);
    let captured = capture(|| async {
        let here = Scope::current();
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(200));
        let tasks = (0..USERS).map(|n| {
            let (client, gate, here) = (client.clone(), gate.clone(), here.clone());
            tokio::spawn(here.scope(async move {
                let _permit = gate.acquire().await.unwrap();
                one_user(&client, &format!("u{n}")).await;
            }))
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
    })
    .await;
    let counts = check(&captured);
    assert_eq!(counts["turn"], USERS);
    assert_eq!(counts["spawned"], USERS);
    // Alone: one blocking and one abandoned stream a user, and those of three branches with scopes of their own.
    assert_eq!(counts["openai-chat"], USERS * 5);
    assert_eq!(captured.stats.dropped_total(), 0);
    let turn = captured.traces.iter().find(|trace| trace.name == "turn").unwrap();
    assert_eq!(turn.spans.len(), 4, "a step, a call below it, one in a task and a stream");
}

async fn one_user(client: &Client<OpenAIConfig>, user: &str) {
    let session = format!("session of {user}");
    pandaprobe::session(session)
        .user(user)
        .scope(async {
            ask(client, user).await;
            read(client, user, 1).await;
            tokio::task::yield_now().await;
            let in_turn = pandaprobe::trace("turn").input(user);
            in_turn
                .scope(|_| async {
                    pandaprobe::span("step").scope(ask(client, user)).await;
                    let (mine, name) = (client.clone(), user.to_owned());
                    pandaprobe::spawn(async move { ask(&mine, &name).await }).await.unwrap();
                    read(client, user, 100).await;
                    // Branches with users of their own, polled by one task, inside of this user's trace.
                    let branches = (0..3).map(|n| {
                        let sub = format!("{user}/{n}");
                        pandaprobe::user(sub.clone()).scope(async move { ask(client, &sub).await })
                    });
                    join_all(branches).await;
                })
                .await;
            let name = user.to_owned();
            let spawned = async move {
                tokio::task::yield_now().await;
                pandaprobe::trace("spawned").input(name).run(|_| ());
            };
            tokio::spawn(spawned.in_current_scope()).await.unwrap();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn branches_that_share_a_scope_and_set_the_user_are_reported() {
    let provider = echo();
    let client = client(&provider);
    let captured = capture(|| async {
        pandaprobe::user("shared")
            .scope(async {
                let branches = (0..8).map(|n| {
                    let client = client.clone();
                    async move {
                        let user = format!("branch {n}");
                        pandaprobe::set_user(&user);
                        ask(&client, &user).await;
                    }
                });
                join_all(branches).await;
            })
            .await;
    })
    .await;
    assert_eq!(captured.traces.len(), 8);
    assert!(captured.reported(ReportKind::IdentityChangedWhileOpen) > 0, "{:?}", captured.reports);
    // The same with a trace that is held open.
    let captured = capture(|| async {
        let branch = |user: &'static str| async move {
            pandaprobe::set_user(user);
            pandaprobe::trace(user).scope(|_| tokio::time::sleep(Duration::from_millis(5))).await;
        };
        pandaprobe::session("s").scope(async { tokio::join!(branch("a"), branch("b")) }).await;
    })
    .await;
    assert_eq!(captured.reported(ReportKind::IdentityChangedWhileOpen), 1, "{:?}", captured.reports);
    for trace in &captured.traces {
        assert_eq!(trace.user_id.as_deref(), Some(trace.name.as_str()), "each began under its own value");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn spawned_tasks_that_set_the_user_without_a_scope_record_nobody_elses() {
    // Without a scope there is no client but the global one.
    let kept = pandaprobe::MemoryExporter::default();
    let guard = pandaprobe::init(pandaprobe::Config::new().exporter(kept.clone())).unwrap();
    let tasks = (0..100).map(|n| {
        tokio::spawn(async move {
            let user = format!("u{n}");
            pandaprobe::set_user(&user);
            pandaprobe::set_session(format!("s{n}"));
            tokio::task::yield_now().await;
            pandaprobe::trace("refused").input(user).scope(|_| tokio::task::yield_now()).await;
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    guard.client().flush_async(Duration::from_secs(5)).await.unwrap();
    let traces: Vec<TraceData> = kept.traces().into_iter().filter(|trace| trace.name == "refused").collect();
    assert_eq!(traces.len(), 100);
    for trace in traces {
        assert_eq!(
            (trace.user_id.as_deref(), trace.session_id.as_deref()),
            (None, None),
            "{:?}",
            trace.input
        );
    }
    assert_eq!(guard.client().stats().reports[&ReportKind::IdentityRefused], 200);
}

/// One of many: scopes that nest, a user that changes half-way, a branch, a task that is handed over, and a stranger.
async fn visitor(n: usize) {
    let me = format!("u{n}");
    let pause = async || {
        for _ in 0..n % 4 {
            tokio::task::yield_now().await;
        }
    };
    let trace = |name: &str| pandaprobe::trace(name.to_owned()).input(me.clone());
    pause().await;
    trace("own").scope(async |_| pause().await).await;
    let other = format!("{me}/guest");
    let guest = async {
        pause().await;
        pandaprobe::trace("guest").input(other.clone()).run(|_| ());
    };
    let branch = pandaprobe::user(other.clone()).scope(guest);
    let handed = pandaprobe::spawn(trace("handed over").scope(async |_| tokio::task::yield_now().await));
    let (_, handed) = tokio::join!(branch, handed);
    handed.unwrap();
    trace("after").run(|_| ());
    // It has no scope, so what it records is nobody's: here, nothing, for want of a client.
    tokio::spawn(async { pandaprobe::trace("a stranger's").run(|_| ()) }).await.unwrap();
}

#[test]
fn ten_thousand_scopes_at_once_keep_their_own() {
    const VISITORS: usize = 10_000;
    for workers in [1, 2, 8] {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(workers).enable_all().build().unwrap();
        let captured = runtime.block_on(capture(|| async {
            let here = Scope::current();
            let visitors = (0..VISITORS).map(|n| {
                let whose = pandaprobe::user(format!("u{n}")).session(format!("session of u{n}"));
                tokio::spawn(here.clone().scope(whose.scope(visitor(n))))
            });
            for visitor in join_all(visitors).await {
                visitor.unwrap();
            }
        }));
        let counts = check(&captured);
        let expected = ["own", "guest", "handed over", "after"].map(|name| (name.to_owned(), VISITORS));
        assert_eq!(counts, HashMap::from(expected), "{workers} workers");
        captured.assert_nothing_lost();
    }
}
