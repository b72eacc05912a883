//! Requests to traced agents: all ways to make one, and where what they do belongs.

use std::time::Duration;

use futures_util::StreamExt;
use pandaprobe_core::{Client, Config, MemoryExporter, ReportKind, testing::capture, trace, user};
use pandaprobe_rig::{BuildTraced, RigHandler, Traced};
use rig_agent::{
    AgentBuilder,
    agent::{AgentHook, HookContext, RunStart, RunStartAction},
};
use rig_core::{
    completion::Message,
    effect::HandlerKey,
    id::ConversationId,
    memory::{ConversationMemory, MemoryError},
    test_utils::{MockCompletionModel, MockTurn},
    wasm_compat::WasmBoxedFuture,
};
use serde_json::json;

use crate::kit::{Double, doubles, stream};

fn builder(turns: impl IntoIterator<Item = MockTurn>) -> AgentBuilder {
    AgentBuilder::new(MockCompletionModel::from_turns(turns)).default_max_turns(4)
}

#[tokio::test]
async fn a_request_is_where_it_is_polled_first_and_its_clone_elsewhere() {
    let captured = capture(|| async {
        let agent = builder((0..2).map(|_| MockTurn::text("so"))).build_traced(&RigHandler::new());
        // Neither is anybody's yet.
        let request = user("nobody").run(|| agent.prompt("go"));
        let clone = request.clone();
        user("ada").scope(trace("hers").scope(|_| request.into_future())).await.unwrap();
        user("grace").scope(clone).await.unwrap();
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "hers COMPLETED user=ada\n\
         └─ AGENT agent OK\n   └─ LLM chat mock-model OK\n\
         agent COMPLETED user=grace\n\
         └─ AGENT agent OK\n   └─ LLM chat mock-model OK\n",
    );
}

#[tokio::test]
async fn a_run_that_is_made_in_a_scope_is_at_home_there() {
    let captured = capture(|| async {
        let turns = [MockTurn::text("so"), MockTurn::text("so")];
        let agent = builder(turns).build_traced(&RigHandler::new());
        let run = user("ada").run(|| agent.prompt("go").run());
        user("bob").scope(run).await.unwrap();
        let model = MockCompletionModel::from_stream_turns([stream(&["2"])]);
        let agent = AgentBuilder::new(model).build_traced(&RigHandler::new());
        let mut answer = user("grace").run(|| agent.prompt("go").stream());
        while let Some(item) = answer.next().await {
            item.unwrap();
        }
    })
    .await;
    let users: Vec<_> = captured.traces.iter().map(|trace| trace.user_id.as_deref()).collect();
    assert_eq!(users, [Some("ada"), Some("grace")]);
}

#[tokio::test]
async fn a_request_through_the_inner_agent_finds_its_wrapped_tools() {
    let captured = capture(|| async {
        let agent = builder([doubles(&[1]), MockTurn::text("2")])
            .tool(Double)
            .build_traced(&RigHandler::new().user_id("nobody"));
        let agent = agent.into_inner();
        agent.prompt("go").traced(&RigHandler::new().user_id("ada")).await.unwrap();
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_user(Some("ada"));
    assert!(!captured.span("agent").metadata.contains_key("pandaprobe.unwrapped_tools"));
    assert_eq!(captured.span("double").output, Some(json!({"doubled": 2})));
}

#[tokio::test]
async fn chat_remembers_and_is_traced() {
    let mut history = vec![Message::user("hi"), Message::assistant("hello")];
    let captured = capture(|| async {
        let agent = builder([MockTurn::text("fine")]).build_traced(&RigHandler::new().user_id("ada"));
        agent.chat("how are you?", &mut history).await.unwrap().output()
    })
    .await;
    assert_eq!((captured.output.as_str(), history.len()), ("fine", 4));
    captured.assert_user(Some("ada"));
    let asked = captured.span("chat").input.clone().unwrap();
    assert_eq!(asked["messages"].as_array().unwrap().len(), 3);
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Person {
    name: String,
}

#[tokio::test]
async fn a_typed_answer_is_traced_with_its_retries() {
    let captured = capture(|| async {
        let turns = [MockTurn::text("no JSON"), MockTurn::text(r#"{"name": "Ada"}"#)];
        let agent = builder(turns).build_traced(&RigHandler::new().user_id("ada"));
        agent.prompt_typed::<Person>("who?").retries(1).await.unwrap().output.name
    })
    .await;
    assert_eq!(captured.output, "Ada");
    captured.assert_user(Some("ada"));
    assert!(captured.traces.iter().all(|trace| trace.spans.len() == 2), "{}", captured.tree());
}

#[tokio::test]
async fn a_run_that_is_driven_through_a_channel_is_traced() {
    let captured = capture(|| async {
        let model = MockCompletionModel::from_stream_turns([stream(&["2"])]);
        let agent = AgentBuilder::new(model).build_traced(&RigHandler::new());
        let (run, mut events) = agent.prompt("go").run_channel();
        let read = async { while events.next().await.is_some() {} };
        let (answer, ()) = tokio::join!(user("ada").scope(run), read);
        answer.unwrap().output()
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_user(Some("ada"));
    assert_eq!(captured.output, "2");
}

#[tokio::test]
async fn an_agent_that_is_instrumented_again_and_again_has_one_mark() {
    let agent = builder([MockTurn::text("so")]).tool(Double).build();
    let handlers: Vec<RigHandler> = (0..5).map(|_| RigHandler::new()).collect();
    handlers.iter().for_each(|handler| drop(handler.instrument(&agent)));
    let is_known = |mark: &usize| {
        let key = HandlerKey::from(format!("{}/model:pandaprobe#{mark}", agent.owner()));
        agent.handler_descriptor(&key).is_some()
    };
    assert_eq!((0..10_000).filter(is_known).count(), 1);
    let tools = agent.tool_server_handle().toolset();
    assert_eq!(tools.get("double").unwrap().handler().descriptor().layers, ["pandaprobe"]);
    // A request may outlive the agent that made it.
    let captured = capture(|| async {
        let request = RigHandler::new().user_id("ada").instrument(&agent).prompt("go");
        request.await.unwrap();
    })
    .await;
    captured.assert_user(Some("ada"));
}

/// What another hook records of its own.
struct Audits(Client);

impl AgentHook for Audits {
    async fn on_run_start(&self, _: &HookContext, _: RunStart<'_>) -> RunStartAction {
        trace("audit").client(self.0.clone()).run(|_| ());
        RunStartAction::Continue
    }
}

#[tokio::test]
async fn what_other_hooks_record_is_nobodys() {
    let exporter = MemoryExporter::default();
    let client = Client::new(Config::new().exporter(exporter.clone())).unwrap();
    let captured = capture(|| async {
        let agent =
            builder([MockTurn::text("so")]).add_hook(Audits(client.clone())).build_traced(&RigHandler::new());
        user("ada").scope(agent.prompt("go")).await.unwrap();
    })
    .await;
    captured.assert_user(Some("ada"));
    client.shutdown(Duration::from_secs(5)).unwrap();
    let audit = &exporter.traces()[0];
    assert_eq!((audit.name.as_str(), &audit.user_id), ("audit", &None));
    assert!(audit.metadata.contains_key("pandaprobe.withheld"));
    assert_eq!(captured.reported(ReportKind::IdentityWithheld), 0, "of that client");
}

/// A memory that never answers.
#[derive(Clone)]
struct Stuck;

impl ConversationMemory for Stuck {
    fn load<'a>(&'a self, _: &'a ConversationId) -> WasmBoxedFuture<'a, Result<Vec<Message>, MemoryError>> {
        Box::pin(std::future::pending())
    }

    fn append<'a>(
        &'a self,
        _: &'a ConversationId,
        _: Vec<Message>,
    ) -> WasmBoxedFuture<'a, Result<(), MemoryError>> {
        Box::pin(std::future::pending())
    }

    fn clear<'a>(&'a self, _: &'a ConversationId) -> WasmBoxedFuture<'a, Result<(), MemoryError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_at_its_first_step_is_cancelled() {
    let captured = capture(|| async {
        let agent = builder([MockTurn::text("so")])
            .memory(Stuck)
            .conversation("talk-1")
            .build_traced(&RigHandler::new().user_id("ada"));
        tokio::time::timeout(Duration::from_millis(30), agent.prompt("go").run()).await.unwrap_err();
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "agent ERROR user=ada\n\
         └─ AGENT agent ERROR: cancelled (cancelled)\n\
         \x20  └─ OTHER memory.load ERROR: cancelled (cancelled)\n",
    );
}

#[tokio::test]
async fn a_request_that_is_never_polled_records_nothing() {
    let captured = capture(|| async {
        let agent = builder([]).build_traced(&RigHandler::new().user_id("ada"));
        drop(agent.prompt("go").run());
        drop(agent.prompt("go").stream());
        drop(agent.inner().prompt("go").traced(&RigHandler::new()));
    })
    .await;
    assert!(captured.traces.is_empty());
}

#[tokio::test]
async fn large_texts_and_media_are_not_copied_into_the_step_before() {
    // A megabyte of base64 is told by its size.
    let image = "A".repeat(1 << 20);
    let captured = capture(|| async {
        let agent = builder([MockTurn::text("an image")]).build_traced(&RigHandler::new());
        let parts = vec![
            rig_core::completion::message::UserContent::text("what is it?"),
            rig_core::completion::message::UserContent::image_base64(
                image.as_str(),
                Some(rig_core::completion::message::ImageMediaType::PNG),
                None,
            ),
        ];
        agent.prompt(Message::User { content: parts }).await.unwrap();
    })
    .await;
    let content = captured.span("chat").input.as_ref().unwrap()["messages"][0]["content"].clone();
    assert_eq!(
        content,
        json!([
            {"type": "text", "text": "what is it?"},
            {"type": "image", "media_type": "image/png", "bytes": 786_432},
        ])
    );
}
