//! What a run of an agent looks like.

use crate::kit::{Double, doubles, stream, tokens};
use futures_util::StreamExt;
use pandaprobe_core::{SpanKind, testing::capture, user};
use pandaprobe_rig::{BuildTraced, RigHandler, Traced};
use rig_agent::AgentBuilder;
use rig_core::test_utils::{MockCompletionModel, MockTurn};
use serde_json::json;

#[tokio::test]
async fn a_run_is_an_agent_with_its_model_calls_and_tools() {
    let model = MockCompletionModel::from_turns([
        doubles(&[2, 1]).with_usage(tokens(20, 5)),
        MockTurn::text("4 and 2").with_usage(tokens(40, 3).cached_input_tokens(10).reasoning_tokens(1)),
    ]);
    let captured = capture(|| async {
        let handler = RigHandler::new().session_id("conversation-123").user_id("ada").tags(["production"]);
        let agent = AgentBuilder::new(model)
            .name("calculator")
            .preamble("You double.")
            .temperature(0.5)
            .context("Two and two is four.")
            .default_max_turns(3)
            .tool(Double)
            .build_traced(&handler);
        agent.prompt("Double 2 and 1").tool_concurrency(2).await.unwrap().output()
    })
    .await;
    assert_eq!(captured.output, "4 and 2");
    captured.assert_nothing_lost();
    captured.assert_tree(
        "calculator COMPLETED session=conversation-123 user=ada tags=production\n\
         └─ AGENT calculator OK\n\
         \x20  ├─ LLM chat mock-model 20→5 tokens OK\n\
         \x20  ├─ TOOL double OK\n\
         \x20  ├─ TOOL double OK\n\
         \x20  └─ LLM chat mock-model 40→3 tokens OK\n",
    );
    let trace = captured.trace("calculator");
    let text = |role: &str, text: &str| json!({"messages": [{"role": role, "content": text}]});
    assert_eq!(trace.input, Some(text("user", "Double 2 and 1")));
    assert_eq!(trace.output, Some(text("assistant", "4 and 2")));

    let llm: Vec<_> = trace.spans.iter().filter(|span| span.kind == SpanKind::Llm).collect();
    assert_eq!(
        llm[0].input.as_ref().unwrap()["messages"][0],
        json!({"role": "system", "content": "You double."})
    );
    assert_eq!(llm[0].model_parameters.as_ref().unwrap()["temperature"], json!(0.5));
    assert_eq!(llm[0].metadata["tools"][0]["name"], json!("double"));
    assert_eq!(llm[0].metadata["documents"][0]["text"], json!("Two and two is four."));
    assert_eq!(
        llm[0].output.as_ref().unwrap()["messages"][0]["tool_calls"][0],
        json!({"id": "call_0", "type": "function", "function": {"name": "double", "arguments": "{\"x\":2}"}})
    );
    let history = llm[1].input.as_ref().unwrap()["messages"].as_array().unwrap();
    assert_eq!(
        history[3],
        json!({"role": "tool", "tool_call_id": "call_0", "name": "double", "content": {"doubled": 4}})
    );
    let usage = llm[1].token_usage.as_ref().unwrap();
    assert_eq!((usage.cache_read_tokens, usage.reasoning_tokens), (Some(10), Some(1)));

    let tools: Vec<_> = trace.spans.iter().filter(|span| span.kind == SpanKind::Tool).collect();
    assert_eq!(tools[0].input, Some(json!({"x": 2})));
    assert_eq!(tools[0].output, Some(json!({"doubled": 4})));
    assert_eq!(tools[0].metadata["call_id"], json!("call_0"));
}

#[tokio::test]
async fn one_request_to_an_agent_is_traced_for_its_user() {
    let captured = capture(|| async {
        let agent = AgentBuilder::new(MockCompletionModel::from_turns([
            MockTurn::text("hello ada"),
            MockTurn::text("hello grace"),
            MockTurn::text("nobody hears"),
        ]))
        .build();
        let handler = RigHandler::new();
        agent.prompt("I am ada").traced(&handler.clone().user_id("ada")).await.unwrap();
        user("grace").scope(agent.prompt("I am grace").traced(&handler)).await.unwrap();
        agent.prompt("I am nobody").await.unwrap();
    })
    .await;
    captured.assert_tree(
        "agent COMPLETED user=ada\n└─ AGENT agent OK\n   └─ LLM chat mock-model OK\n\
         agent COMPLETED user=grace\n└─ AGENT agent OK\n   └─ LLM chat mock-model OK\n",
    );
}

#[tokio::test]
async fn a_streamed_run_has_the_time_of_its_first_token() {
    let model = MockCompletionModel::from_stream_turns([stream(&["four", " it is"])]);
    let captured = capture(|| async {
        let agent = AgentBuilder::new(model).build_traced(&RigHandler::new());
        let mut answer = agent.prompt("2 + 2?").stream();
        while let Some(item) = answer.next().await {
            item.unwrap();
        }
    })
    .await;
    captured.assert_tree("agent COMPLETED\n└─ AGENT agent OK\n   └─ LLM chat mock-model 3→2 tokens OK\n");
    let llm = captured.span("chat");
    assert!(llm.completion_start_time.is_some());
    assert_eq!(llm.output, Some(json!({"messages": [{"role": "assistant", "content": "four it is"}]})));
}
