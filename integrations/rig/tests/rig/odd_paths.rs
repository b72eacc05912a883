//! Paths of a run that are not the straight one, each by its name.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use pandaprobe_core::{
    ReportKind, SpanData, SpanKind, SpanStatus, TraceStatus,
    testing::{Captured, capture},
    trace,
};
use pandaprobe_rig::{BuildTraced, RigHandler, Traced, TracedAgent};
use rig_agent::{
    AgentBuilder, AgentRun,
    agent::{AgentHook, AgentRunStep, HookContext, InvalidToolCallAction, InvalidToolCallContext},
    completion::PromptError,
    extractor::ExtractorBuilder,
    run::response::PromptResponse,
    tool::{Tool, ToolContext},
};
use rig_core::{
    memory::InMemoryConversationMemory,
    message::{ToolResultContent, UserContent},
    test_utils::{MockCompletionModel, MockStreamEvent, MockTurn},
};
use serde_json::{Value, json};

use crate::kit::{Double, Forbids, Stops, doubles, stream};

async fn run_of<A>(
    build: impl FnOnce(&RigHandler) -> A,
    ask: impl AsyncFnOnce(&A) -> String,
) -> Captured<String> {
    capture(|| async {
        let agent = build(&RigHandler::new().user_id("ada"));
        ask(&agent).await
    })
    .await
}

async fn ask(agent: &TracedAgent) -> String {
    told(agent.prompt("go").await)
}

fn told(answer: Result<PromptResponse, PromptError>) -> String {
    match answer {
        Ok(answer) => answer.output(),
        Err(error) => format!("failed: {error}"),
    }
}

fn builder(turns: impl IntoIterator<Item = MockTurn>) -> AgentBuilder {
    AgentBuilder::new(MockCompletionModel::from_turns(turns)).default_max_turns(4)
}

fn spans(captured: &Captured<String>, kind: SpanKind) -> Vec<&SpanData> {
    captured.traces.iter().flat_map(|trace| &trace.spans).filter(|span| span.kind == kind).collect()
}

#[tokio::test]
async fn llm_error() {
    let captured = run_of(|handler| builder([MockTurn::error("boom 500")]).build_traced(handler), ask).await;
    captured.assert_nothing_lost();
    let llm = captured.span("chat");
    assert_eq!(llm.status, SpanStatus::Error);
    assert!(llm.error.as_ref().unwrap().contains("boom 500"), "{:?}", llm.error);
    assert_eq!(captured.traces[0].status, TraceStatus::Error);
    assert!(llm.input.is_some());
}

#[tokio::test]
async fn llm_error_in_the_middle_of_a_stream() {
    let broken = vec![MockStreamEvent::text("as far as I"), MockStreamEvent::error("cut off")];
    let model = MockCompletionModel::from_stream_turns([broken]);
    let captured = run_of(
        |handler| AgentBuilder::new(model).build_traced(handler),
        async |agent: &TracedAgent| {
            let mut answer = agent.prompt("go").stream();
            while answer.next().await.is_some() {}
            String::new()
        },
    )
    .await;
    let llm = captured.span("chat");
    assert_eq!(llm.status, SpanStatus::Error);
    assert!(llm.error.as_ref().unwrap().contains("cut off"), "{:?}", llm.error);
    assert_eq!(llm.output, Some(json!({"messages": [{"role": "assistant", "content": "as far as I"}]})));
    assert_eq!(captured.traces[0].status, TraceStatus::Error);
}

#[tokio::test]
async fn tool_error() {
    let captured = run_of(
        |handler| builder([doubles(&[0]), MockTurn::text("sorry")]).tool(Double).build_traced(handler),
        ask,
    )
    .await;
    captured.assert_nothing_lost();
    let tool = captured.span("double");
    // Not what the model is told, which is that the tool failed.
    assert_eq!(tool.error.as_deref(), Some("the doubler is broken: zero is not supported"));
    assert_eq!(tool.output, Some(json!("the tool failed")));
    assert_eq!(tool.metadata["error_kind"], json!("other"));
    assert_eq!(captured.traces[0].status, TraceStatus::Completed);
    assert_eq!(captured.output, "sorry");
}

struct Retries;

impl AgentHook for Retries {
    async fn on_invalid_tool_call(
        &self,
        _: &HookContext,
        _: &InvalidToolCallContext,
    ) -> Option<InvalidToolCallAction> {
        Some(InvalidToolCallAction::Retry { feedback: "there is `double`".to_owned() })
    }
}

#[tokio::test]
async fn unknown_tool() {
    let unknown = || MockTurn::tool_call("call_0", "halve", json!({"x": 1}));
    let captured = run_of(|handler| builder([unknown()]).tool(Double).build_traced(handler), ask).await;
    captured.assert_tree(
        "agent ERROR user=ada\n\
         └─ AGENT agent ERROR: model attempted to call unknown or disallowed tool `halve`. \
         Available tools: [\"double\"]. Allowed tools for this turn: [\"double\"]\n\
         \x20  ├─ LLM chat OK\n\
         \x20  └─ TOOL halve ERROR: unknown tool `halve`\n",
    );
    let called = &captured.span("chat").output.as_ref().unwrap()["messages"][0]["tool_calls"][0];
    assert_eq!(called["function"]["name"], json!("halve"));

    // Another hook that has the model try again.
    let retried = async |agent: &TracedAgent| {
        agent.prompt("go").max_invalid_tool_call_retries(2).await.unwrap().output()
    };
    let captured = run_of(
        |handler| {
            let turns = [unknown(), doubles(&[1]), MockTurn::text("two")];
            builder(turns).tool(Double).add_hook(Retries).build_traced(handler)
        },
        retried,
    )
    .await;
    captured.assert_nothing_lost();
    let kinds = |kind| spans(&captured, kind).iter().map(|span| span.status).collect::<Vec<_>>();
    assert_eq!(kinds(SpanKind::Llm), [SpanStatus::Ok; 3]);
    assert_eq!(captured.output, "two");
}

#[tokio::test]
async fn arguments_that_are_no_json() {
    let captured = run_of(
        |handler| {
            let turn = MockTurn::tool_call("call_0", "double", Value::from("{\"x\": "));
            builder([turn, MockTurn::text("so be it")]).tool(Double).build_traced(handler)
        },
        ask,
    )
    .await;
    captured.assert_nothing_lost();
    let tool = captured.span("double");
    assert!(
        tool.error.as_ref().unwrap().starts_with("the arguments are not a JSON object"),
        "{:?}",
        tool.error
    );
    assert_eq!(tool.input, Some(json!("{\"x\": ")));
    assert_eq!(captured.output, "so be it");
}

#[tokio::test]
async fn skipped_tool() {
    let captured = run_of(
        |handler| {
            let builder = builder([doubles(&[1]), MockTurn::text("then not")]).tool(Double);
            builder.add_hook(Forbids).build_traced(handler)
        },
        ask,
    )
    .await;
    captured.assert_nothing_lost();
    let tool = captured.span("double");
    assert_eq!((tool.status, &tool.output), (SpanStatus::Ok, &Some(json!("the policy says no"))));
    assert_eq!((&tool.metadata["skipped"], &tool.input), (&json!(true), &Some(json!({"x": 1}))));
    assert!(!captured.span("agent").metadata.contains_key("pandaprobe.unwrapped_tools"));
}

#[tokio::test]
async fn run_dropped() {
    let captured = run_of(
        |handler| builder([doubles(&[10_000])]).tool(Double).build_traced(handler),
        async |agent: &TracedAgent| {
            tokio::select! {
                _ = agent.prompt("go").run() => "finished".to_owned(),
                () = tokio::time::sleep(Duration::from_millis(30)) => "left".to_owned(),
            }
        },
    )
    .await;
    captured.assert_nothing_lost();
    assert_eq!(captured.output, "left");
    captured.assert_tree(
        "agent ERROR user=ada\n\
         └─ AGENT agent ERROR: cancelled (cancelled)\n\
         \x20  ├─ LLM chat mock-model OK\n\
         \x20  └─ TOOL double ERROR: cancelled (cancelled)\n",
    );
    assert_eq!(captured.span("agent").metadata["pandaprobe.end"], json!("cancelled"));
}

#[tokio::test]
async fn timeout() {
    let captured = run_of(
        |handler| builder([doubles(&[10_000])]).tool(Double).build_traced(handler),
        async |agent: &TracedAgent| {
            let answer = tokio::time::timeout(Duration::from_millis(30), agent.prompt("go").run()).await;
            answer.is_err().to_string()
        },
    )
    .await;
    assert_eq!(captured.output, "true");
    assert_eq!(captured.span("double").error.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn stream_left_by_its_reader() {
    let model = MockCompletionModel::from_stream_turns([stream(&["uno ", "due ", "tre "])]);
    let captured = run_of(
        |handler| AgentBuilder::new(model).build_traced(handler),
        async |agent: &TracedAgent| {
            let mut answer = agent.prompt("count").stream();
            while let Some(Ok(item)) = answer.next().await {
                if format!("{item:?}").contains("uno ") {
                    break;
                }
            }
            String::new()
        },
    )
    .await;
    captured.assert_nothing_lost();
    let (llm, root) = (captured.span("chat"), captured.span("agent"));
    for span in [llm, root] {
        assert_eq!(
            (span.status, &span.metadata["pandaprobe.end"]),
            (SpanStatus::Ok, &json!("stopped_by_reader"))
        );
    }
    assert_eq!(llm.output, Some(json!({"messages": [{"role": "assistant", "content": "uno "}]})));
}

struct Panics;

impl Tool for Panics {
    const NAME: &'static str = "panics";
    type Args = HashMap<String, Value>;
    type Output = String;
    type Error = std::convert::Infallible;

    fn description(&self) -> String {
        "Panics.".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object"})
    }

    async fn call(&self, _: &mut ToolContext, _: Self::Args) -> Result<String, Self::Error> {
        panic!("out of tea")
    }
}

#[tokio::test]
async fn tool_that_panics() {
    let captured = run_of(
        |handler| {
            builder([MockTurn::tool_call("call_0", "panics", json!({}))]).tool(Panics).build_traced(handler)
        },
        async |agent: &TracedAgent| {
            let run = agent.prompt("go");
            pandaprobe_core::spawn(run.run()).await.unwrap_err().to_string()
        },
    )
    .await;
    assert!(captured.output.contains("panicked"));
    assert_eq!(captured.span("panics").error.as_deref(), Some("panicked: out of tea"));
    assert_eq!(captured.span("agent").error.as_deref(), Some("panicked"));
    assert_eq!(captured.traces.len(), 1);
}

#[tokio::test]
async fn memory_before_the_run() {
    let memory = InMemoryConversationMemory::new();
    let captured = run_of(
        |handler| {
            builder([MockTurn::text("hello"), MockTurn::text("again")])
                .memory(memory)
                .conversation("talk-1")
                .build_traced(handler)
        },
        async |agent: &TracedAgent| {
            agent.prompt("hi").await.unwrap();
            agent.prompt("and now?").await.unwrap().output()
        },
    )
    .await;
    captured.assert_nothing_lost();
    let one = "agent COMPLETED user=ada\n\
         └─ AGENT agent OK\n\
         \x20  ├─ OTHER memory.load OK\n\
         \x20  ├─ LLM chat mock-model OK\n\
         \x20  └─ OTHER memory.append OK\n";
    captured.assert_tree(&one.repeat(2));
    let (first, second) = (&captured.traces[0], &captured.traces[1]);
    assert_eq!(first.input, Some(json!({"messages": [{"role": "user", "content": "hi"}]})));
    let loaded = &second.span("memory.load").unwrap().output.as_ref().unwrap()["messages"];
    assert_eq!(loaded.as_array().unwrap().len(), 2);
    let [load, root] = ["memory.load", "agent"].map(|name| second.span(name).unwrap());
    assert!(load.started_at >= root.started_at && load.started_at >= second.started_at);
    let llm = second.span("chat").unwrap();
    assert!(load.ended_at.unwrap() <= llm.started_at, "it was loaded before");
}

#[tokio::test]
async fn resumed_run() {
    // A run that was stored after its first tool.
    let mut stored = AgentRun::new("double 4").max_turns(2);
    let AgentRunStep::CallModel { .. } = stored.next_step().unwrap() else { panic!("not the first call") };
    let calls = vec![crate::kit::call("call_0", "double", json!({"x": 4}))];
    let tools = vec!["double".to_owned()];
    stored.model_response(crate::kit::model_turn(calls, &tools)).unwrap();
    let AgentRunStep::CallTools { calls } = stored.next_step().unwrap() else { panic!("no tool is called") };
    let result = calls[0].tool_call.result(vec![ToolResultContent::json(json!({"doubled": 8}))]);
    stored.tool_results(vec![UserContent::ToolResult(result)]).unwrap();
    let stored = serde_json::to_string(&stored).unwrap();

    let captured = run_of(
        |handler| builder([MockTurn::text("8")]).tool(Double).build_traced(handler),
        async |agent: &TracedAgent| {
            let run: AgentRun = serde_json::from_str(&stored).unwrap();
            agent.resume(run).await.unwrap().output()
        },
    )
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "agent COMPLETED user=ada\n\
         └─ AGENT agent OK\n   └─ LLM chat mock-model OK\n",
    );
    assert_eq!(captured.output, "8");
    assert_eq!(captured.span("agent").metadata["rig.resumed"], json!(true));
    let input = captured.span("chat").input.clone().unwrap();
    assert_eq!(input["messages"][2]["content"], json!({"doubled": 8}));
}

#[derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema, Debug)]
struct Person {
    name: String,
}

#[tokio::test]
async fn extractor_retries() {
    let model = || {
        MockCompletionModel::from_turns([
            MockTurn::text("no tool is called"),
            MockTurn::tool_call("call_0", "submit", json!({"name": "Ada"})),
        ])
    };
    let extract = async |handler: &RigHandler| {
        let extractor = ExtractorBuilder::<Person>::new(model()).retries(1).build_traced(handler);
        extractor.extract("Ada was here").await.unwrap().output.name
    };
    let captured = capture(|| async { extract(&RigHandler::new()).await }).await;
    assert_eq!(captured.output, "Ada");
    // Each attempt is a run of its own. What is submitted is the answer; no tool ran.
    let one = "agent COMPLETED\n└─ AGENT agent OK\n   └─ LLM chat mock-model OK\n";
    captured.assert_tree(&one.repeat(2));
    assert_eq!(
        captured.traces[1].output,
        Some(json!({"messages": [{"role": "assistant", "content": "{\"name\":\"Ada\"}"}]}))
    );

    let captured = capture(|| async {
        trace("extract").user_id("ada").scope(|_| async { extract(&RigHandler::new()).await }).await
    })
    .await;
    let attempt = "├─ AGENT agent OK\n│  └─ LLM chat mock-model OK\n";
    let last = "└─ AGENT agent OK\n   └─ LLM chat mock-model OK\n";
    captured.assert_tree(&format!("extract COMPLETED user=ada\n{attempt}{last}"));
}

#[tokio::test]
async fn two_hooks_on_one_run() {
    let captured = capture(|| async {
        let handler = RigHandler::new().session_id("service").tags(["all"]);
        let turns = (0..2).flat_map(|_| [doubles(&[1]), MockTurn::text("2")]);
        let agent = builder(turns).tool(Double).build_traced(&handler);
        let of_ada = handler.clone().user_id("ada").session_id("talk-7").tags(["one"]);
        agent.prompt("go").traced(&of_ada).await.unwrap();
        agent.prompt("go").await.unwrap();
    })
    .await;
    captured.assert_nothing_lost();
    let run = "└─ AGENT agent OK\n   ├─ LLM chat mock-model OK\n   ├─ TOOL double OK\n   └─ LLM chat mock-model OK\n";
    captured.assert_tree(&format!(
        "agent COMPLETED session=talk-7 user=ada tags=all,one\n{run}agent COMPLETED session=service tags=all\n{run}"
    ));
}

#[tokio::test]
async fn too_many_turns() {
    let captured = run_of(
        |handler| {
            let model = MockCompletionModel::from_turns([doubles(&[1])]);
            AgentBuilder::new(model).tool(Double).build_traced(handler)
        },
        ask,
    )
    .await;
    captured.assert_tree(
        "agent ERROR user=ada\n\
         └─ AGENT agent ERROR: reached the max turns limit of 1\n\
         \x20  ├─ LLM chat mock-model OK\n\
         \x20  └─ TOOL double OK\n",
    );
}

#[tokio::test]
async fn run_that_another_hook_stops() {
    let captured = run_of(|handler| builder([]).add_hook(Stops).build_traced(handler), ask).await;
    captured.assert_tree("agent ERROR user=ada\n└─ AGENT agent ERROR: the run was cancelled: not today\n");
}

#[tokio::test]
async fn nothing_is_recorded_without_a_client() {
    let model = MockCompletionModel::from_turns([doubles(&[1]), MockTurn::text("2")]);
    let agent = AgentBuilder::new(model).default_max_turns(3).tool(Double).build_traced(&RigHandler::new());
    assert_eq!(agent.prompt("go").await.unwrap().output(), "2");
}

#[tokio::test]
async fn a_tool_that_was_not_wrapped_is_named() {
    let captured = capture(|| async {
        let agent = builder([doubles(&[1]), MockTurn::text("2")]).tool(Double).build();
        agent.prompt("go").traced(&RigHandler::new().user_id("ada")).await.unwrap();
    })
    .await;
    assert_eq!(captured.span("agent").metadata["pandaprobe.unwrapped_tools"], json!(["double"]));
    assert_eq!(captured.reported(ReportKind::IdentityWithheld), 0, "it recorded nothing");
}
