//! What the tests of agents share: tools, and answers of a model.

use std::{collections::BTreeSet, time::Duration};

use rig_agent::{
    agent::{AgentHook, DispatchAction, DispatchEvent, HookContext, RunStart, RunStartAction, StepEventKind},
    run::ModelTurn,
    tool::{Tool, ToolContext},
};
use rig_core::{
    completion::{
        Usage,
        message::{AssistantContent, AssistantMessage, ToolCall, ToolFunction, ToolName},
    },
    test_utils::{MockStreamEvent, MockTurn, mock_final},
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Doubling {
    x: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the doubler is broken")]
pub(crate) struct Broken(#[source] std::io::Error);

/// Doubles a number, `x` milliseconds later. Zero breaks it.
#[derive(Clone)]
pub(crate) struct Double;

impl Tool for Double {
    const NAME: &'static str = "double";
    type Args = Doubling;
    type Output = Value;
    type Error = Broken;

    fn description(&self) -> String {
        "Doubles a number.".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "properties": {"x": {"type": "integer"}}})
    }

    async fn call(&self, _: &mut ToolContext, arguments: Doubling) -> Result<Value, Broken> {
        if arguments.x == 0 {
            return Err(Broken(std::io::Error::other("zero is not supported")));
        }
        tokio::time::sleep(Duration::from_millis(arguments.x)).await;
        Ok(json!({"doubled": arguments.x * 2}))
    }
}

pub(crate) fn call(id: &str, name: &str, arguments: Value) -> AssistantContent {
    let function = ToolFunction::new(ToolName::new(name).unwrap(), arguments);
    AssistantContent::ToolCall(ToolCall::from_wire(id, function))
}

/// A turn that calls `double` with each of the numbers.
pub(crate) fn doubles(numbers: &[u64]) -> MockTurn {
    let calls =
        numbers.iter().enumerate().map(|(at, x)| call(&format!("call_{at}"), "double", json!({"x": x})));
    MockTurn::from_contents(calls)
}

pub(crate) fn tokens(input: u64, output: u64) -> Usage {
    Usage::new().input_tokens(input).output_tokens(output).total_tokens(input + output)
}

pub(crate) fn stream(texts: &[&str]) -> Vec<MockStreamEvent> {
    let texts = texts.iter().map(|text| MockStreamEvent::text(*text));
    texts.chain([MockStreamEvent::FinalResponse(mock_final(tokens(3, 2)))]).collect()
}

/// An answer of the model, for a run that is driven by hand.
pub(crate) fn model_turn(content: Vec<AssistantContent>, tools: &[String]) -> ModelTurn {
    let tools: BTreeSet<String> = tools.iter().cloned().collect();
    ModelTurn::new(AssistantMessage::default(), content, Usage::new(), tools.clone(), tools, Value::Null)
}

/// Lets no tool run.
pub(crate) struct Forbids;

impl AgentHook for Forbids {
    async fn on_dispatch(&self, _: &HookContext, event: DispatchEvent<'_>) -> DispatchAction {
        match event.tool_name() {
            Some(_) => DispatchAction::skip("the policy says no"),
            None => DispatchAction::Proceed,
        }
    }
}

/// Lets no run begin.
pub(crate) struct Stops;

impl AgentHook for Stops {
    async fn on_run_start(&self, _: &HookContext, _: RunStart<'_>) -> RunStartAction {
        RunStartAction::Stop("not today".to_owned())
    }

    fn observes(&self, kind: StepEventKind) -> bool {
        kind == StepEventKind::RunStart
    }
}
