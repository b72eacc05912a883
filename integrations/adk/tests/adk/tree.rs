//! What a run looks like.

use adk_core::{GenerateContentConfig, Part, RunConfig, SessionId, StreamingMode, UserId};
use futures_util::StreamExt;
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::testing::capture;
use serde_json::json;

use crate::kit::{
    Scripted, agent, answer, ask, build, call, end, messages, partial, question, runner, say, text, weather,
};

#[tokio::test]
async fn a_run_is_an_agent_with_its_model_calls_and_tools() {
    let captured = capture(|| async {
        let handler =
            AdkHandler::new().session_id("conversation-123").user_id("user-abc").tags(["production"]);
        let thinking = Part::Thinking { thinking: "planning".to_owned(), signature: None };
        let model = Scripted::turns(
            "scripted-1",
            [vec![answer(vec![thinking, call("get_weather", json!({"city": "Oslo"}))])], say("It is sunny.")],
        );
        let config = GenerateContentConfig {
            temperature: Some(0.2),
            max_output_tokens: Some(50),
            ..GenerateContentConfig::default()
        };
        let agent = agent(&handler, "forecaster", model)
            .instruction("Be brief.")
            .generate_content_config(config)
            .tool(handler.tool(weather()));
        let runner = runner(&handler, build(&handler, agent)).await;
        ask(&runner, "ada", "How is the weather in Oslo?").await.len()
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "trips COMPLETED session=conversation-123 user=user-abc tags=production\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT forecaster OK\n\
         \x20     ├─ LLM scripted-1 scripted-1 20→5 tokens OK\n\
         \x20     ├─ TOOL get_weather OK\n\
         \x20     │  └─ OTHER station OK\n\
         \x20     └─ LLM scripted-1 scripted-1 20→5 tokens OK\n",
    );
    let trace = captured.trace("trips");
    assert_eq!(trace.input, Some(messages("user", "How is the weather in Oslo?")));
    assert_eq!(trace.output, Some(messages("assistant", "It is sunny.")));
    let [root, agent, first, tool, _, last] = trace.spans.as_slice() else { panic!("six spans") };
    assert!(root.metadata["adk.invocation_id"].as_str().unwrap().starts_with("inv-"));
    assert_eq!(agent.input, trace.input);
    assert_eq!(agent.output, trace.output);
    assert_eq!(agent.metadata["adk.agent_type"], json!("LlmAgent"));
    assert_eq!(first.model.as_deref(), Some("scripted-1"));
    assert_eq!(
        json!(first.model_parameters.as_ref().unwrap()),
        json!({"temperature": 0.2, "max_output_tokens": 50})
    );
    let called = json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [
        {"id": "call-get_weather", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"}}]}]});
    assert_eq!(first.output, Some(called));
    assert_eq!(first.metadata["reasoning_summary"], json!("planning"));
    assert_eq!(first.metadata["finish_reason"], json!("Stop"));
    assert_eq!(first.metadata["tools"][0]["name"], json!("get_weather"));
    assert_eq!(tool.input, Some(json!({"city": "Oslo"})));
    assert_eq!(tool.output, Some(json!({"city": "Oslo", "sky": "sunny"})));
    assert_eq!(tool.metadata["call_id"], json!("call-get_weather"));
    let asked = last.input.as_ref().unwrap()["messages"].as_array().unwrap();
    assert_eq!(
        asked.last().unwrap(),
        &json!({"role": "tool", "tool_call_id": "call-get_weather", "name": "get_weather",
                "content": {"city": "Oslo", "sky": "sunny"}})
    );
}

/// What was said, from the one answer in pieces that this model gives.
async fn told(mode: StreamingMode) -> (String, serde_json::Value) {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let pieces = vec![
            partial(vec![Part::Thinking { thinking: "so".to_owned(), signature: None }]),
            partial(vec![text("It is ")]),
            partial(vec![text("sunny.")]),
            end(),
        ];
        let agent = agent(&handler, "forecaster", Scripted::turns("scripted-1", [pieces]));
        let runner = runner(&handler, build(&handler, agent)).await;
        let config = RunConfig { streaming_mode: mode, ..RunConfig::default() };
        let (user, session) =
            (UserId::try_from("ada").unwrap(), SessionId::try_from("session-of-ada").unwrap());
        let run = runner.run_with_config(user, session, question("Sunny?"), Some(config)).await.unwrap();
        run.for_each(|event| async move { drop(event.unwrap()) }).await;
    })
    .await;
    captured.assert_nothing_lost();
    let trace = captured.trace("trips");
    assert_eq!(trace.output, Some(messages("assistant", "It is sunny.")));
    let [_, agent, llm] = trace.spans.as_slice() else { panic!("three spans") };
    assert!(llm.completion_start_time.is_some());
    assert_eq!(agent.output, trace.output);
    assert_eq!(llm.output, trace.output);
    (captured.tree(), json!(llm.metadata))
}

#[tokio::test]
async fn streamed_and_whole_answers_look_the_same() {
    let streamed = told(StreamingMode::SSE).await;
    assert_eq!(streamed, told(StreamingMode::None).await);
    assert_eq!(streamed.1["reasoning_summary"], json!("so"));
}

#[tokio::test]
async fn an_answer_at_once_has_no_first_token() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = agent(&handler, "forecaster", Scripted::turns("scripted-1", [say("Yes.")]));
        let runner = runner(&handler, build(&handler, agent)).await;
        ask(&runner, "ada", "Sunny?").await;
    })
    .await;
    assert_eq!(captured.span("scripted-1").completion_start_time, None);
}

#[tokio::test]
async fn a_transfer_is_a_step_and_the_other_agent_too() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let hotels =
            agent(&handler, "hotels", Scripted::turns("m2", [say("There is one.")])).build().unwrap();
        let transfer = vec![answer(vec![call("transfer_to_agent", json!({"agent_name": "hotels"}))])];
        // The sub-agent is not wrapped: the runner finds it by the agent that is.
        let travel = agent(&handler, "travel", Scripted::turns("m1", [transfer]))
            .sub_agent(std::sync::Arc::new(hotels));
        let runner = runner(&handler, build(&handler, travel)).await;
        ask(&runner, "ada", "A hotel?").await;
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  ├─ AGENT travel OK\n\
         \x20  │  ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20  │  └─ TOOL transfer_to_agent OK\n\
         \x20  └─ AGENT hotels OK\n\
         \x20     └─ LLM m2 m2 20→5 tokens OK\n",
    );
    assert_eq!(captured.trace("trips").output, Some(messages("assistant", "There is one.")));
    assert_eq!(captured.span("transfer_to_agent").input, Some(json!({"agent_name": "hotels"})));
    assert_eq!(captured.span("travel").output, None);
}

#[tokio::test]
async fn what_is_wrapped_twice_is_recorded_once() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let other = AdkHandler::new().user_id("somebody else");
        let model =
            Scripted::turns("m1", [vec![answer(vec![call("get_weather", json!({}))])], say("Sunny.")]);
        let agent = adk_agent::LlmAgentBuilder::new("forecaster")
            .model(other.llm(handler.llm(model)))
            .tool(other.tool(handler.tool(weather())))
            .build()
            .unwrap();
        let agent = other.agent(handler.agent(std::sync::Arc::new(agent)));
        let runner = runner(&handler, agent).await;
        ask(&runner, "ada", "Sunny?").await;
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT forecaster OK\n\
         \x20     ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20     ├─ TOOL get_weather OK\n\
         \x20     │  └─ OTHER station OK\n\
         \x20     └─ LLM m1 m1 20→5 tokens OK\n",
    );
}
