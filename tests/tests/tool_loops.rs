//! Tool loops that a program writes by hand, without a trace around them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_openai::{Client, config::OpenAIConfig};
use futures_util::{StreamExt, future::join_all};
use pandaprobe::{
    Config, MemoryExporter, OpenAiHandler, SpanData, SpanKind, SpanStatus, TraceData, TraceStatus, session,
    testing::capture, user,
};
use pandaprobe_tests::provider::{Exchange, Provider};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

type OpenAi = Client<OpenAIConfig>;

fn config(provider: &Provider) -> OpenAIConfig {
    OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url())).with_api_key("sk-secret")
}

fn wrapped(provider: &Provider) -> OpenAi {
    OpenAiHandler::new().wrap(Client::with_config(config(provider)))
}

fn says(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn asks(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn calls<const N: usize>(calls: [(&str, &str, Value); N]) -> Value {
    let calls: Vec<Value> = calls
        .into_iter()
        .map(|(id, name, arguments)| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
        })
        .collect();
    json!({"role": "assistant", "content": null, "tool_calls": calls})
}

fn result(id: &str, content: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": content})
}

fn answer(message: &Value) -> Exchange {
    let finish = if message["tool_calls"].is_array() { "tool_calls" } else { "stop" };
    let choice = json!({"index": 0, "message": message, "finish_reason": finish});
    Exchange::json(
        200,
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}),
    )
}

fn adds(id: &str, a: u32) -> Value {
    calls([(id, "add", json!({"a": a, "b": 2}))])
}

/// A server that answers with a call of `add` under `id` until it sees a result, and with that then.
fn adder(id: &'static str) -> Provider {
    Provider::start_with(move |request, _| {
        let request = request.json.as_ref().unwrap();
        let messages = request["messages"].as_array().unwrap();
        let last = messages.last().unwrap();
        if last["role"] == "tool" {
            return answer(&says(last["content"].as_str().unwrap()));
        }
        answer(&adds(id, last["content"].as_str().unwrap().len() as u32))
    })
}

async fn ask(client: &OpenAi, messages: &[Value]) -> Value {
    let request = json!({"model": "m", "messages": messages});
    let answer: Value = client.chat().create_byot(request).await.unwrap();
    answer["choices"][0]["message"].clone()
}

/// The loop that everybody writes.
async fn agent(client: &OpenAi, question: &str) -> String {
    let mut messages = vec![asks(question)];
    loop {
        let answer = ask(client, &messages).await;
        let Some(calls) = answer["tool_calls"].as_array() else {
            return answer["content"].as_str().unwrap().to_owned();
        };
        messages.push(answer.clone());
        for call in calls {
            let arguments: Value =
                serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            let sum = arguments["a"].as_u64().unwrap() + arguments["b"].as_u64().unwrap();
            messages.push(result(call["id"].as_str().unwrap(), &sum.to_string()));
        }
    }
}

/// Kind and name of the spans, in order of their start, and where they are.
fn shape(trace: &TraceData) -> Vec<String> {
    let mut spans: Vec<&SpanData> = trace.spans.iter().collect();
    spans.sort_by_key(|span| (span.started_at, span.parent_span_id.is_some(), span.kind == SpanKind::Tool));
    let name = |id| trace.spans.iter().find(|span| span.span_id == id).map_or("?", |span| span.name.as_str());
    let line = |span: &&SpanData| {
        let above = span.parent_span_id.map(|id| format!("{} > ", name(id))).unwrap_or_default();
        format!("{above}{:?} {}", span.kind, span.name)
    };
    spans.iter().map(line).collect()
}

const LOOP: [&str; 4] =
    ["Chain tool-loop", "tool-loop > Llm openai-chat", "tool-loop > Tool add", "tool-loop > Llm openai-chat"];

fn only(traces: &[TraceData]) -> &TraceData {
    assert_eq!(traces.len(), 1, "{:#?}", traces.iter().map(shape).collect::<Vec<_>>());
    &traces[0]
}

fn tools(trace: &TraceData) -> Vec<&SpanData> {
    trace.spans.iter().filter(|span| span.kind == SpanKind::Tool).collect()
}

#[tokio::test]
async fn a_loop_without_a_trace_is_one_trace() {
    let provider = adder("call_0");
    let captured = capture(|| async { agent(&wrapped(&provider), "four").await }).await;
    assert_eq!(captured.output, "6");
    let trace = only(&captured.traces);
    assert_eq!(shape(trace), LOOP);
    assert_eq!((trace.name.as_str(), trace.status), ("tool-loop", TraceStatus::Completed));
    assert_eq!(trace.input, Some(json!({"messages": [asks("four")]})));
    assert_eq!(trace.output, Some(json!({"messages": [says("6")]})));

    let chain = &trace.spans[0];
    assert_eq!((chain.kind, chain.status, chain.parent_span_id), (SpanKind::Chain, SpanStatus::Ok, None));
    assert_eq!((&chain.input, &chain.output), (&trace.input, &trace.output));
    assert_eq!((chain.started_at, chain.ended_at), (trace.started_at, trace.ended_at));
    let tool = tools(trace)[0];
    assert_eq!((&tool.input, &tool.output), (&Some(json!({"a": 4, "b": 2})), &Some(json!("6"))));
    assert_eq!(tool.metadata["pandaprobe.inferred"], true);
    assert_eq!(chain.metadata["pandaprobe.inferred"], true);
    assert_eq!(tool.metadata["tool_call_id"], "call_0");
    let llm: Vec<&SpanData> = trace.spans.iter().filter(|span| span.kind == SpanKind::Llm).collect();
    assert!(llm.iter().all(|span| !span.metadata.contains_key("pandaprobe.inferred")), "those were recorded");
    assert!(llm[0].ended_at.unwrap() <= tool.started_at && tool.ended_at.unwrap() <= llm[1].started_at);
}

#[tokio::test]
async fn a_loop_of_several_turns_with_parallel_calls_is_one_trace() {
    let first =
        calls([("a", "add", json!({"x": 1})), ("b", "add", json!({"x": 1})), ("c", "sub", json!({}))]);
    let second = calls([("d", "mul", json!({"x": 3}))]);
    let provider = Provider::start([answer(&first), answer(&second), answer(&says("done"))]);
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let mut messages = vec![asks("go")];
        messages.push(ask(&client, &messages).await);
        // In another order than they were asked for.
        messages.extend([result("c", "C"), result("a", "A"), result("b", "B")]);
        messages.push(ask(&client, &messages).await);
        messages.push(result("d", "D"));
        assert_eq!(ask(&client, &messages).await, says("done"));
    })
    .await;
    let trace = only(&captured.traces);
    assert_eq!(trace.spans.iter().filter(|span| span.kind == SpanKind::Llm).count(), 3);
    let ran: Vec<Value> = tools(trace)
        .iter()
        .map(|tool| json!([tool.name, tool.metadata["tool_call_id"], tool.output]))
        .collect();
    let expected = [
        json!(["add", "a", "A"]),
        json!(["add", "b", "B"]),
        json!(["sub", "c", "C"]),
        json!(["mul", "d", "D"]),
    ];
    assert_eq!(ran, expected);
    let chain = trace.spans.iter().find(|span| span.kind == SpanKind::Chain).unwrap();
    let below = trace.spans.iter().filter(|span| span.parent_span_id == Some(chain.span_id)).count();
    assert_eq!(below, trace.spans.len() - 1);
}

#[tokio::test]
async fn a_streamed_loop_is_one_trace() {
    let chunk = |delta: Value, finish: Option<&str>| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    let call = json!({"index": 0, "id": "call_0", "type": "function", "function": {"name": "add", "arguments": "{\"a\":"}});
    let rest = json!({"index": 0, "function": {"arguments": "1}"}});
    let first = Exchange::sse([
        chunk(json!({"role": "assistant", "tool_calls": [call]}), None),
        chunk(json!({"tool_calls": [rest]}), None),
        chunk(json!({}), Some("tool_calls")),
        json!("[DONE]"),
    ]);
    let second = Exchange::sse([chunk(json!({"content": "3"}), Some("stop")), json!("[DONE]")]);
    let provider = Provider::start([first, second]);
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let read = async |messages: Value| {
            let request = json!({"model": "m", "stream": true, "messages": messages});
            let stream = client.chat().create_stream_byot::<_, Value>(request).await.unwrap();
            stream.count().await
        };
        read(json!([asks("go")])).await;
        let assistant = calls([("call_0", "add", json!({"a": 1}))]);
        read(json!([asks("go"), assistant, result("call_0", "3")])).await;
    })
    .await;
    assert_eq!(shape(only(&captured.traces)), LOOP);
}

#[tokio::test]
async fn a_loop_of_responses_is_one_trace() {
    let call = json!({"type": "function_call", "id": "fc_1", "call_id": "call_0", "name": "add", "arguments": "{\"a\":1}",
        "status": "completed"});
    let said = json!({"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "3"}]});
    let answer = |output: &Value| {
        Exchange::json(
            200,
            json!({"id": "r", "object": "response", "status": "completed", "model": "m", "output": [output]}),
        )
    };
    let provider = Provider::start([answer(&call), answer(&said)]);
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let asked = json!({"role": "user", "content": "go"});
        let _: Value = client.responses().create_byot(json!({"model": "m", "input": [asked]})).await.unwrap();
        let output = json!({"type": "function_call_output", "call_id": "call_0", "output": "3"});
        let _: Value = client
            .responses()
            .create_byot(json!({"model": "m", "input": [asked, call, output]}))
            .await
            .unwrap();
    })
    .await;
    let mut steps = shape(only(&captured.traces));
    steps.sort_unstable();
    let mut expected = [
        "Chain tool-loop",
        "tool-loop > Llm openai-response",
        "openai-response > Tool function_call:add",
        "tool-loop > Tool add",
        "tool-loop > Llm openai-response",
    ];
    expected.sort_unstable();
    assert_eq!(steps, expected);
}

#[tokio::test]
async fn fifty_users_whose_server_counts_its_calls_are_not_joined() {
    let provider = adder("call_0");
    // All ask at once, and only then does anybody go on: everybody's answer is the same.
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let barrier = Arc::new(tokio::sync::Barrier::new(50));
        let one = |user: usize| {
            let (client, barrier) = (client.clone(), Arc::clone(&barrier));
            async move {
                let question = asks("four");
                let answer = ask(&client, std::slice::from_ref(&question)).await;
                barrier.wait().await;
                let said = format!("for user {user}");
                ask(&client, &[question, answer, result("call_0", &said)]).await
            }
        };
        join_all((0..50).map(|user| pandaprobe::spawn(one(user)))).await
    })
    .await;
    assert_eq!(captured.traces.len(), 100, "each call is a trace of its own");
    assert!(captured.traces.iter().all(|trace| trace.spans.len() == 1));
}

#[tokio::test]
async fn fifty_users_with_a_name_have_one_trace_each_whatever_the_server_counts() {
    let provider = adder("call_0");
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let barrier = Arc::new(tokio::sync::Barrier::new(50));
        let one = |id: String| {
            let (client, barrier) = (client.clone(), Arc::clone(&barrier));
            user(id.clone()).scope(async move {
                let question = asks("four");
                let answer = ask(&client, std::slice::from_ref(&question)).await;
                barrier.wait().await;
                ask(&client, &[question, answer, result("call_0", &id)]).await
            })
        };
        join_all((0..50).map(|place| tokio::spawn(one(format!("user-{place}"))))).await
    })
    .await;
    assert_eq!(captured.traces.len(), 50);
    let mut seen = BTreeSet::new();
    for trace in &captured.traces {
        assert_eq!(shape(trace), LOOP);
        let id = trace.user_id.clone().unwrap();
        assert_eq!(tools(trace)[0].output, Some(json!(id)), "another's tool");
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn calls_of_another_user_session_handler_or_server_are_not_joined() {
    let (provider, elsewhere) = (adder("call_0"), adder("call_0"));
    let question = asks("four");
    let next = [question.clone(), adds("call_0", 4), result("call_0", "6")];
    let captured = capture(|| async {
        let client = wrapped(&provider);
        user("ada").scope(ask(&client, std::slice::from_ref(&question))).await;
        user("bob").scope(ask(&client, &next)).await;
        session("one").user("ada").scope(ask(&client, &next)).await;
        ask(&client, &next).await;
        user("ada").scope(ask(&wrapped(&provider), &next)).await;
        let handler = OpenAiHandler::new();
        let here = handler.wrap(Client::with_config(config(&provider)));
        let there = handler.wrap(Client::with_config(config(&elsewhere)));
        ask(&here, std::slice::from_ref(&question)).await;
        ask(&there, &next).await;
    })
    .await;
    assert_eq!(captured.traces.len(), 7);
}

/// As providers draw them.
const DRAWN: &str = "call_8fK2mQ9xLpW4dZ7a";

#[tokio::test]
async fn an_edited_history_is_joined_where_ids_are_drawn_but_for_an_edited_answer() {
    let provider = adder(DRAWN);
    let captured = capture(|| async {
        let client = wrapped(&provider);
        ask(&client, &[says("earlier"), asks("four")]).await;
        ask(&client, &[asks("a summary"), adds(DRAWN, 4), result(DRAWN, "6")]).await;
    })
    .await;
    assert_eq!(shape(only(&captured.traces)), LOOP, "what is before the answer does not count");

    let sum = calls([(DRAWN, "sum", json!({"a": 4, "b": 2}))]);
    for edited in [adds("call_7aZd4WpLx9Qm2Kf8", 4), adds(DRAWN, 5), sum, says("no call")] {
        let captured = capture(|| async {
            let client = wrapped(&provider);
            ask(&client, &[asks("four")]).await;
            ask(&client, &[asks("four"), edited, result(DRAWN, "6")]).await;
        })
        .await;
        assert_eq!(captured.traces.len(), 2);
    }
}

#[tokio::test]
async fn where_ids_are_counted_the_history_must_be_the_same() {
    let provider = adder("call_0");
    let captured = capture(|| async {
        let client = wrapped(&provider);
        ask(&client, &[says("for ada"), asks("four")]).await;
        // Its first turn was asked elsewhere.
        ask(&client, &[says("for bob"), asks("four"), adds("call_0", 4), result("call_0", "bob's")]).await;
    })
    .await;
    assert_eq!(captured.traces.len(), 2);
}

#[tokio::test]
async fn one_that_was_sent_could_still_be_meant() {
    let provider = adder("call_0");
    let memory = MemoryExporter::default();
    let patience = Duration::from_millis(150);
    let client =
        pandaprobe::Client::new(Config::new().exporter(memory.clone()).tool_loop_patience(patience)).unwrap();
    let openai = OpenAiHandler::new().client(client.clone()).wrap(Client::with_config(config(&provider)));
    let conversation = [asks("four"), adds("call_0", 4), result("call_0", "6")];
    ask(&openai, &conversation[..1]).await;
    while memory.traces().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ask(&openai, &conversation[..1]).await;
    ask(&openai, &conversation).await;
    client.flush(Duration::from_secs(5)).unwrap();
    assert_eq!(memory.traces().len(), 3, "it could be the turn of either");
}

#[tokio::test]
async fn a_turn_that_began_before_the_answer_was_there_does_not_continue_it() {
    let provider = Provider::start_with(|request, _| {
        let messages = request.json.as_ref().unwrap()["messages"].as_array().unwrap().len();
        match messages {
            1 => answer(&adds(DRAWN, 4)),
            _ => answer(&says("6")).chunk_delay(Duration::from_millis(300)),
        }
    });
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let next = [asks("four"), adds(DRAWN, 4), result(DRAWN, "6")];
        let early = ask(&client, &next);
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ask(&client, &next[..1]).await
        };
        tokio::join!(early, late);
    })
    .await;
    assert_eq!(captured.traces.len(), 2);
}

#[tokio::test]
async fn refused_identities_are_not_one() {
    let provider = adder(DRAWN);
    let next = [asks("four"), adds(DRAWN, 4), result(DRAWN, "6")];
    let captured = capture(|| async {
        let client = wrapped(&provider);
        user("a".repeat(300)).scope(ask(&client, &next[..1])).await;
        user("b".repeat(300)).scope(ask(&client, &next)).await;
    })
    .await;
    assert_eq!(captured.traces.len(), 2);
    assert!(captured.traces.iter().all(|trace| trace.user_id.is_none()));
}

#[tokio::test]
async fn a_tool_that_two_loops_may_have_called_goes_where_its_result_went() {
    let provider = Provider::start_with(|request, _| {
        let messages = request.json.as_ref().unwrap()["messages"].as_array().unwrap();
        match (messages.len(), messages[0]["content"].as_str().unwrap()) {
            (1, who) => answer(&calls([(&format!("call_{who}9xLpW4dZ7aQ2"), "balance", json!({}))])),
            _ => answer(&says("thanks")),
        }
    });
    for recorded in ["bob", "both", "neither"] {
        let captured = capture(|| async {
            let handler = OpenAiHandler::new();
            let client = handler.wrap(Client::with_config(config(&provider)));
            let mut conversations = Vec::new();
            for who in ["ada", "bob"] {
                let question = asks(who);
                let answer = ask(&client, std::slice::from_ref(&question)).await;
                conversations.push((who, vec![question, answer]));
            }
            for (who, messages) in &mut conversations {
                let said = format!("{who} has 7");
                if recorded == "both" || recorded == *who {
                    let said = said.clone();
                    handler.tool("balance", json!({}), async move { said }).await;
                }
                let id = messages[1]["tool_calls"][0]["id"].as_str().unwrap().to_owned();
                messages.push(result(&id, &said));
            }
            for (_, messages) in &conversations {
                ask(&client, messages).await;
            }
        })
        .await;
        for trace in captured.traces.iter().filter(|trace| trace.name == "tool-loop") {
            let who = trace.input.as_ref().unwrap()["messages"][0]["content"].as_str().unwrap();
            for tool in tools(trace) {
                assert_eq!(tool.output, Some(json!(format!("{who} has 7"))), "{recorded}");
                assert_eq!(
                    tool.metadata.contains_key("pandaprobe.inferred"),
                    recorded == "neither",
                    "{recorded}"
                );
            }
        }
        let expected = if recorded == "bob" { (2, 1) } else { (2, 2) };
        let ran: usize = captured.traces.iter().map(|trace| tools(trace).len()).sum();
        assert_eq!(
            (captured.traces.len(), ran),
            expected,
            "{recorded}: {:?}",
            captured.traces.iter().map(shape).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_tool_that_was_tried_again_is_there_twice() {
    let provider = adder("call_0");
    let captured = capture(|| async {
        let handler = OpenAiHandler::new();
        let client = handler.wrap(Client::with_config(config(&provider)));
        let mut messages = vec![asks("four")];
        messages.push(ask(&client, &messages).await);
        let arguments = json!({"a": 4, "b": 2});
        let failed = handler.try_tool("add", arguments.clone(), async { Err::<u8, _>("not now") });
        assert!(failed.await.is_err());
        handler.tool("add", arguments, async { "the sum: 6" }).await;
        messages.push(result("call_0", "6"));
        ask(&client, &messages).await;
    })
    .await;
    let ran: Vec<SpanStatus> = tools(only(&captured.traces)).iter().map(|tool| tool.status).collect();
    assert_eq!(ran, [SpanStatus::Error, SpanStatus::Ok]);
}

#[tokio::test]
async fn what_a_tool_leaves_behind_is_recorded() {
    let provider = adder("call_0");
    let captured = capture(|| async {
        let handler = OpenAiHandler::new();
        let client = handler.wrap(Client::with_config(config(&provider)));
        let mut messages = vec![asks("four")];
        messages.push(ask(&client, &messages).await);
        let mut behind = None;
        let tool = handler.tool("add", json!({"a": 4, "b": 2}), async {
            let span = pandaprobe::span("behind").scope(tokio::time::sleep(Duration::from_millis(100)));
            behind = Some(pandaprobe::spawn(span));
            6
        });
        pandaprobe::tag("tool-tag").metadata("tenant", "t-1").scope(tool).await;
        messages.push(result("call_0", "6"));
        ask(&client, &messages).await;
        behind.unwrap().await.unwrap();
    })
    .await;
    let trace = only(&captured.traces);
    let steps = shape(trace);
    assert!(steps.contains(&"add > Other behind".to_owned()), "{steps:?}");
    assert_eq!(tools(trace).len(), 1);
    assert_eq!(
        (trace.tags.as_slice(), &trace.metadata["tenant"]),
        (&["tool-tag".to_owned()][..], &json!("t-1"))
    );
    assert_eq!(trace.metadata["pandaprobe.joined_trace_ids"].as_array().map(Vec::len), Some(2));
    captured.assert_nothing_lost();
}

#[tokio::test]
async fn what_begins_in_a_tool_that_waits_is_not_lost() {
    let provider = adder("call_0");
    let memory = MemoryExporter::default();
    let client = pandaprobe::Client::new(Config::new().exporter(memory.clone())).unwrap();
    let handler = OpenAiHandler::new().client(client.clone());
    let openai = handler.wrap(Client::with_config(config(&provider)));
    ask(&openai, &[asks("four")]).await;
    let carried = Arc::new(Mutex::new(None));
    let carry = Arc::clone(&carried);
    handler
        .tool("add", json!({"a": 4, "b": 2}), async move {
            *carry.lock().unwrap() = Some(pandaprobe::Scope::current());
            6
        })
        .await;
    let scope = carried.lock().unwrap().take().unwrap();
    let open = scope.run(|| pandaprobe::span("background").start());
    client.flush(Duration::from_secs(5)).unwrap();
    drop(open);
    client.shutdown(Duration::from_secs(5)).unwrap();
    let spans: Vec<String> =
        memory.traces().iter().flat_map(|trace| trace.spans.iter().map(|span| span.name.clone())).collect();
    assert!(spans.contains(&"background".to_owned()), "{spans:?}");
    assert_eq!(client.stats().dropped_total(), 0);
}

#[tokio::test]
async fn results_are_told_apart_by_order_where_ids_are_not() {
    for id in ["call_0", ""] {
        let first = calls([(id, "add", json!({"x": 1})), (id, "add", json!({"x": 2}))]);
        let provider = Provider::start([answer(&first), answer(&says("done"))]);
        let captured = capture(|| async {
            let client = wrapped(&provider);
            let mut messages = vec![asks("go")];
            messages.push(ask(&client, &messages).await);
            messages.extend([result(id, "one"), result(id, "two")]);
            ask(&client, &messages).await;
        })
        .await;
        let ran: Vec<Value> =
            tools(only(&captured.traces)).iter().map(|tool| json!([tool.input, tool.output])).collect();
        assert_eq!(ran, [json!([{"x": 1}, "one"]), json!([{"x": 2}, "two"])], "{id:?}");
    }
}

#[tokio::test]
async fn a_loop_that_goes_on_for_ever_is_sent_in_parts() {
    let provider = Provider::start_with(|request, _| {
        let turn = request.json.as_ref().unwrap()["messages"].as_array().unwrap().len();
        answer(&calls([(&format!("call_{turn}aLpW4dZ7aQ2xx"), "add", json!({"turn": turn}))]))
    });
    let memory = MemoryExporter::default();
    let config = Config::new().exporter(memory.clone()).max_trace_age(Duration::from_millis(200));
    let client = pandaprobe::Client::new(config).unwrap();
    let openai =
        OpenAiHandler::new().client(client.clone()).wrap(Client::with_config(self::config(&provider)));
    let mut messages = vec![asks("go")];
    let begun = Instant::now();
    while memory.traces().len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing is sent");
        let answer = ask(&openai, &messages).await;
        let id = answer["tool_calls"][0]["id"].as_str().unwrap().to_owned();
        messages.extend([answer, result(&id, "ok")]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn of_two_loops_that_share_a_prefix_one_continues_it() {
    let provider = adder("call_0");
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let prefix = [asks("four"), adds("call_0", 4)];
        ask(&client, &prefix[..1]).await;
        for branch in ["one", "two"] {
            let mut messages = prefix.to_vec();
            messages.push(result("call_0", branch));
            ask(&client, &messages).await;
        }
    })
    .await;
    let mut shapes: Vec<_> = captured.traces.iter().map(shape).collect();
    shapes.sort_by_key(Vec::len);
    assert_eq!(shapes, [vec!["Llm openai-chat"], LOOP.to_vec()], "an answer is continued once");
}

#[tokio::test]
async fn who_continues_an_answer_again_is_not_taken_for_another() {
    let provider = adder("call_0");
    let captured = capture(|| async {
        let client = wrapped(&provider);
        let conversation =
            |system: &str| [says(system), asks("four"), adds("call_0", 4), result("call_0", "6")];
        let (one, other) = (conversation("one"), conversation("other"));
        ask(&client, &one[..2]).await;
        ask(&client, &one).await;
        ask(&client, &other[..2]).await;
        // Regenerated: it is not the turn that the other conversation waits for.
        ask(&client, &one).await;
        ask(&client, &other).await;
        // The same conversation, all over again.
        ask(&client, &other[..2]).await;
        ask(&client, &other).await;
    })
    .await;
    let mut shapes: Vec<_> = captured.traces.iter().map(shape).collect();
    shapes.sort_by_key(Vec::len);
    assert_eq!(shapes, [vec!["Llm openai-chat"], LOOP.to_vec(), LOOP.to_vec(), LOOP.to_vec()]);
    for trace in captured.traces.iter().filter(|trace| trace.name == "tool-loop") {
        let systems: BTreeSet<String> = trace
            .spans
            .iter()
            .filter(|span| span.kind == SpanKind::Llm)
            .map(|span| span.input.as_ref().unwrap()["messages"][0]["content"].to_string())
            .collect();
        assert_eq!(systems.len(), 1, "two conversations in one trace");
    }
}

#[tokio::test]
async fn an_abandoned_loop_is_sent_when_its_time_is_over() {
    let provider = adder("call_0");
    let memory = MemoryExporter::default();
    let patience = Duration::from_millis(300);
    let client =
        pandaprobe::Client::new(Config::new().exporter(memory.clone()).tool_loop_patience(patience)).unwrap();
    let openai = OpenAiHandler::new().client(client.clone()).wrap(Client::with_config(config(&provider)));
    ask(&openai, &[asks("four")]).await;
    let asked = Instant::now();
    tokio::time::sleep(patience / 2).await;
    assert!(memory.traces().is_empty(), "it waits for what may follow");
    while memory.traces().is_empty() {
        assert!(asked.elapsed() < Duration::from_secs(5), "it waits for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(asked.elapsed() >= patience - Duration::from_millis(50));
    assert_eq!(shape(&memory.traces()[0]), ["Llm openai-chat"]);
    // What comes too late is a trace of its own, though its call is known.
    ask(&openai, &[asks("four"), adds("call_0", 4), result("call_0", "6")]).await;
    client.flush(Duration::from_secs(5)).unwrap();
    assert_eq!(memory.traces().len(), 2);
    assert_eq!(client.stats().dropped_total(), 0);
}

#[tokio::test]
async fn a_turn_that_began_in_time_is_waited_for() {
    let slow = Arc::new(Mutex::new(false));
    let is_slow = Arc::clone(&slow);
    let provider = Provider::start_with(move |_, _| {
        let mut slow = is_slow.lock().unwrap();
        match std::mem::replace(&mut *slow, true) {
            false => answer(&adds("call_0", 4)),
            true => answer(&says("6")).chunk_delay(Duration::from_millis(600)),
        }
    });
    let memory = MemoryExporter::default();
    let config = Config::new().exporter(memory.clone()).tool_loop_patience(Duration::from_millis(200));
    let client = pandaprobe::Client::new(config).unwrap();
    let openai =
        OpenAiHandler::new().client(client.clone()).wrap(Client::with_config(self::config(&provider)));
    ask(&openai, &[asks("four")]).await;
    ask(&openai, &[asks("four"), adds("call_0", 4), result("call_0", "6")]).await;
    client.flush(Duration::from_secs(5)).unwrap();
    assert_eq!(shape(only(&memory.traces())), LOOP);
}

#[tokio::test]
async fn a_flush_sends_what_waits_and_a_patience_of_zero_never_waits() {
    let provider = adder("call_0");
    let next = [asks("four"), adds("call_0", 4), result("call_0", "6")];
    for patience in [Duration::from_secs(60), Duration::ZERO] {
        let memory = MemoryExporter::default();
        let config = Config::new().exporter(memory.clone()).tool_loop_patience(patience);
        let client = pandaprobe::Client::new(config).unwrap();
        let openai =
            OpenAiHandler::new().client(client.clone()).wrap(Client::with_config(self::config(&provider)));
        ask(&openai, &next[..1]).await;
        client.flush(Duration::from_secs(5)).unwrap();
        assert_eq!(memory.traces().len(), 1);
        ask(&openai, &next).await;
        assert_eq!(client.stats().joined, 0);
        ask(&openai, &next[..1]).await;
        client.shutdown(Duration::from_secs(5)).unwrap();
        assert_eq!(memory.traces().len(), 3);
    }
}

#[tokio::test]
async fn nothing_is_inferred_inside_of_a_trace() {
    let provider = adder("call_0");
    let captured = capture(|| {
        let client = wrapped(&provider);
        pandaprobe::trace("agent").scope(async move |_| agent(&client, "four").await)
    })
    .await;
    assert_eq!(shape(only(&captured.traces)), ["Llm openai-chat", "Llm openai-chat"]);
}

#[tokio::test]
async fn a_recorded_tool_stands_for_its_call_with_exact_times() {
    let provider = adder("call_0");
    let captured = capture(|| async {
        let handler = OpenAiHandler::new();
        let client = handler.wrap(Client::with_config(config(&provider)));
        let mut messages = vec![asks("four")];
        messages.push(ask(&client, &messages).await);
        let arguments = json!({"b": 2, "a": 4});
        let sum = handler
            .tool("add", arguments, async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                6
            })
            .await;
        messages.push(result("call_0", &sum.to_string()));
        ask(&client, &messages).await;
        // One that no call asks for.
        handler.tool("mul", json!({}), async { 0 }).await;
    })
    .await;
    assert_eq!(captured.traces.len(), 2, "{:?}", captured.traces.iter().map(shape).collect::<Vec<_>>());
    let trace = captured.trace("tool-loop");
    assert_eq!(shape(trace), LOOP);
    let tool = tools(trace)[0];
    assert_eq!((&tool.output, tool.metadata.contains_key("pandaprobe.inferred")), (&Some(json!(6)), false));
    assert!(tool.ended_at.unwrap().since(tool.started_at) >= Duration::from_millis(30));
    assert_eq!(shape(captured.trace("mul")), ["Tool mul"]);
}

#[tokio::test]
async fn recorded_tools_of_parallel_calls_stand_for_them() {
    let first =
        calls([("a", "add", json!({"x": 1})), ("b", "add", json!({"x": 1})), ("c", "sub", json!({}))]);
    let provider = Provider::start([answer(&first), answer(&says("done"))]);
    let captured = capture(|| async {
        let handler = OpenAiHandler::new();
        let client = handler.wrap(Client::with_config(config(&provider)));
        let mut messages = vec![asks("go")];
        messages.push(ask(&client, &messages).await);
        let run = |name: &str, arguments: Value, value: &'static str| {
            handler.tool(name, arguments, async move { value })
        };
        let (one, two) = (run("add", json!({"x": 1}), "A"), run("add", json!({"x": 1}), "B"));
        tokio::join!(one, two);
        messages.extend([result("a", "A"), result("b", "B"), result("c", "C")]);
        ask(&client, &messages).await;
    })
    .await;
    let trace = only(&captured.traces);
    let mut ran: Vec<(&str, bool)> = tools(trace)
        .iter()
        .map(|tool| (tool.name.as_str(), tool.metadata.contains_key("pandaprobe.inferred")))
        .collect();
    ran.sort_unstable();
    assert_eq!(ran, [("add", false), ("add", false), ("sub", true)]);
}

#[tokio::test]
async fn a_turn_that_fails_is_a_part_of_the_loop_and_may_be_tried_again() {
    let refused =
        json!({"error": {"message": "no", "type": "invalid_request_error", "code": null, "param": null}});
    let provider = Provider::start([
        answer(&adds("call_0", 4)),
        Exchange::json(400, refused.clone()),
        answer(&says("6")),
    ]);
    let next = json!({"model": "m", "messages": [asks("four"), adds("call_0", 4), result("call_0", "6")]});
    let captured = capture(|| async {
        let client = wrapped(&provider);
        ask(&client, &[asks("four")]).await;
        assert!(client.chat().create_byot::<_, Value>(next.clone()).await.is_err());
        let _: Value = client.chat().create_byot(next.clone()).await.unwrap();
    })
    .await;
    let trace = only(&captured.traces);
    assert_eq!(trace.spans.iter().filter(|span| span.kind == SpanKind::Llm).count(), 3);
    assert_eq!(tools(trace).len(), 1, "it ran once");
    assert_eq!(trace.status, TraceStatus::Completed, "the last turn was well");

    let provider = Provider::start([answer(&adds("call_0", 4)), Exchange::json(400, refused)]);
    let captured = capture(|| async {
        let client = wrapped(&provider);
        ask(&client, &[asks("four")]).await;
        assert!(client.chat().create_byot::<_, Value>(next).await.is_err());
    })
    .await;
    let trace = only(&captured.traces);
    let error = "400: no (type: invalid_request_error)";
    assert_eq!((trace.status, &trace.metadata["pandaprobe.error"]), (TraceStatus::Error, &json!(error)));
    assert_eq!(trace.spans[0].error.as_deref(), Some(error));
}

#[tokio::test]
async fn a_score_of_any_turn_is_one_of_the_loop() {
    let provider = adder("call_0");
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let memory = MemoryExporter::default();
    let client = pandaprobe::Client::new(Config::new().exporter(memory.clone())).unwrap();
    let handler = OpenAiHandler::new()
        .client(client.clone())
        .on_trace(move |trace| listener.lock().unwrap().push(trace.trace_id));
    let openai = handler.wrap(Client::with_config(config(&provider)));
    agent(&openai, "four").await;
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 2);
    for id in told {
        client.score(id, "helpfulness", 0.9);
    }
    client.flush(Duration::from_secs(5)).unwrap();
    let id = only(&memory.traces()).trace_id;
    let stats = client.stats();
    assert_eq!((stats.traces, stats.joined, stats.open), (2, 1, 0));
    assert!(memory.scores().iter().all(|score| score.trace_id == id) && memory.scores().len() == 2);
}

#[tokio::test]
async fn what_waits_makes_room_for_what_is_recorded() {
    let provider = adder("call_0");
    let memory = MemoryExporter::default();
    let config = Config::new().exporter(memory.clone()).max_buffered_bytes(400_000);
    let client = pandaprobe::Client::new(config).unwrap();
    let openai =
        OpenAiHandler::new().client(client.clone()).wrap(Client::with_config(self::config(&provider)));
    let long = "x".repeat(20_000);
    for _ in 0..60 {
        ask(&openai, &[says(&long), asks("four")]).await;
        // Time for the exporter, so that it is not what is short of room.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    client.flush(Duration::from_secs(5)).unwrap();
    assert_eq!((memory.traces().len(), client.stats().dropped_total()), (60, 0), "{:?}", client.stats());
}

/// What one of several conversations does next.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// It goes on, or begins.
    On,
    /// It sends its last request again.
    Again,
    /// It begins anew.
    Anew,
}

/// Conversations that differ in their first message alone: all get the same answers, with the same ids. Those with an even
/// number have a user.
async fn talk(client: &OpenAi, moves: &[(usize, Move)]) {
    let first = |conversation: usize| vec![says(&format!("conversation {conversation}")), asks("four")];
    let mut conversations: Vec<Vec<Value>> = (0..4).map(first).collect();
    for (conversation, next) in moves {
        let messages = &mut conversations[*conversation];
        match next {
            Move::On | Move::Again => {}
            Move::Anew => *messages = first(*conversation),
        }
        let asked = match conversation % 2 {
            0 => user(format!("user-{conversation}")).scope(ask(client, messages)).await,
            _ => ask(client, messages).await,
        };
        if !matches!(next, Move::Again) {
            match asked["tool_calls"].is_array() {
                true => messages.extend([asked, result("call_0", "6")]),
                false => *messages = first(*conversation),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn conversations_are_never_mixed(
        moves in vec((0..4_usize, prop_oneof![4 => Just(Move::On), 1 => Just(Move::Again), 1 => Just(Move::Anew)]), 1..24)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let provider = adder("call_0");
        let captured = runtime.block_on(capture(|| async { talk(&wrapped(&provider), &moves).await }));
        let mut calls = 0;
        for trace in &captured.traces {
            let llm = trace.spans.iter().filter(|span| span.kind == SpanKind::Llm);
            let said = llm.map(|span| span.input.as_ref().unwrap()["messages"][0]["content"].as_str().unwrap());
            let said: Vec<&str> = said.collect();
            calls += said.len();
            prop_assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
            let number: usize = said[0].rsplit(' ').next().unwrap().parse().unwrap();
            let user = number.is_multiple_of(2).then(|| format!("user-{number}"));
            prop_assert_eq!(&trace.user_id, &user);
        }
        prop_assert_eq!(calls, moves.len(), "each call is recorded once");
    }
}
