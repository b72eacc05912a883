//! Agents whose hook is their own: nobody knows where their work is polled, so while it runs what is current is withheld in
//! the whole process. A binary of its own for that, with one test at a time.
#![expect(clippy::unwrap_used, reason = "a test fails where it stops")]

use std::time::Duration;

use pandaprobe_core::{
    ReportKind, SpanStatus,
    testing::{Captured, capture},
    user,
};
use pandaprobe_rig::{BuildTraced, RigHandler, Traced};
use rig_agent::{
    Agent, AgentBuilder,
    agent::{AgentHook, DispatchAction, DispatchEvent, HookContext},
};
use rig_core::{
    completion::Message,
    effect::EffectKind,
    test_utils::{MockCompletionModel, MockTurn},
};
use serde_json::json;
use tokio::sync::Mutex;

use crate::{
    crowd::{Builder, Kept, RUNS, USERS, agents, check_users, provider},
    kit::{Double, Forbids, Stops, doubles},
};

#[path = "../rig/crowd.rs"]
mod crowd;
#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../rig/kit.rs"]
mod kit;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn run_of(build: impl FnOnce(RigHandler) -> Agent) -> Captured<String> {
    let _alone = ONE_AT_A_TIME.lock().await;
    capture(|| async {
        let agent = build(RigHandler::new().user_id("ada"));
        match agent.prompt("go").await {
            Ok(answer) => answer.output(),
            Err(error) => format!("failed: {error}"),
        }
    })
    .await
}

fn builder(turns: impl IntoIterator<Item = MockTurn>) -> AgentBuilder {
    AgentBuilder::new(MockCompletionModel::from_turns(turns)).default_max_turns(4)
}

#[tokio::test]
async fn a_run_is_recorded_and_its_tools_are_named() {
    let captured = run_of(|handler| {
        builder([doubles(&[1]), MockTurn::text("2")]).tool(Double).add_hook(handler).build()
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "agent COMPLETED user=ada\n\
         └─ AGENT agent OK\n\
         \x20  ├─ LLM chat mock-model OK\n\
         \x20  ├─ TOOL double OK\n\
         \x20  └─ LLM chat mock-model OK\n",
    );
    assert_eq!(captured.span("agent").metadata["pandaprobe.unwrapped_tools"], json!(["double"]));
}

#[tokio::test]
async fn a_tool_that_a_later_hook_skips() {
    let captured = run_of(|handler| {
        let builder = builder([doubles(&[1]), MockTurn::text("then not")]).tool(Double);
        builder.add_hook(handler).add_hook(Forbids).build()
    })
    .await;
    captured.assert_nothing_lost();
    let tool = captured.span("double");
    assert_eq!((tool.status, &tool.output), (SpanStatus::Ok, &Some(json!("the policy says no"))));
    assert_eq!((&tool.metadata["skipped"], &tool.input), (&json!(true), &Some(json!({"x": 1}))));
    assert!(!captured.span("agent").metadata.contains_key("pandaprobe.unwrapped_tools"));
}

struct Patches;

impl AgentHook for Patches {
    async fn on_dispatch(&self, _: &HookContext, event: DispatchEvent<'_>) -> DispatchAction {
        match event.tool_name() {
            Some(_) => DispatchAction::rewrite_tool_args(event.kind, json!({"x": 21})),
            None => DispatchAction::Proceed,
        }
    }
}

#[tokio::test]
async fn arguments_that_a_later_hook_changes() {
    let captured = run_of(|handler| {
        let builder = builder([doubles(&[1]), MockTurn::text("42")]).tool(Double);
        builder.add_hook(handler).add_hook(Patches).build()
    })
    .await;
    let tool = captured.span("double");
    assert_eq!((&tool.input, &tool.output), (&Some(json!({"x": 21})), &Some(json!({"doubled": 42}))));
}

#[tokio::test]
async fn hooks_of_two_handlers_record_two_traces() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let captured = capture(|| async {
        let agent = builder([doubles(&[1]), MockTurn::text("2")])
            .tool(Double)
            .add_hook(RigHandler::new().user_id("grace").client(pandaprobe_core::current_client().unwrap()))
            .build_traced(&RigHandler::new().user_id("ada"));
        agent.prompt("go").await.unwrap();
    })
    .await;
    let users: Vec<_> = captured.traces.iter().map(|trace| trace.user_id.as_deref().unwrap()).collect();
    assert_eq!(users.len(), 2);
    assert!(users.contains(&"ada") && users.contains(&"grace"));
}

#[tokio::test]
async fn a_run_that_a_later_hook_stops() {
    let captured = run_of(|handler| builder([]).add_hook(handler).add_hook(Stops).build()).await;
    assert_eq!(captured.traces.len(), 1, "{}", captured.tree());
    assert_eq!(captured.traces[0].user_id.as_deref(), Some("ada"));
    assert!(captured.span("agent").error.as_ref().unwrap().contains("not today"));
}

#[tokio::test]
async fn a_run_that_is_stopped_before_the_request_could_say_whose_it_is() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let captured = capture(|| async {
        let handler = RigHandler::new().user_id("service");
        let agent = builder([]).add_hook(handler.clone()).add_hook(Stops).build();
        agent.prompt("go").traced(&handler.clone().user_id("ada")).await.unwrap_err();
    })
    .await;
    captured.assert_tree("agent ERROR user=ada\n└─ AGENT agent ERROR: the run was cancelled: not today\n");
}

#[tokio::test]
async fn a_request_says_more_than_the_agent() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let captured = capture(|| async {
        let handler = RigHandler::new().session_id("service").user_id("nobody");
        let agent = builder([MockTurn::text("so")]).add_hook(handler.clone()).build();
        user("grace").scope(agent.prompt("go").traced(&handler.clone().user_id("ada"))).await.unwrap();
    })
    .await;
    captured.assert_tree(
        "agent COMPLETED session=service user=ada\n└─ AGENT agent OK\n   └─ LLM chat mock-model OK\n",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_agents_with_a_plain_hook_record_is_under_no_wrong_user() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let helper = |builder: Builder| builder.add_hook(handler.clone()).build().into_tool().unwrap();
    let agent = agents(&provider, &kept.client, helper, |builder| builder.add_hook(handler.clone()).build());
    // Neither by `traced`: the hook learns of a run only when that has begun.
    let runs = (0..RUNS).map(|run| {
        let agent = agent.clone();
        let who = format!("user-{} run-{run}.", run % USERS);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(run as u64 % 50)).await;
            user(format!("user-{}", run % USERS))
                .scope(agent.prompt(who.as_str()).tool_concurrency(4))
                .await
                .unwrap();
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    let (traces, reports) = kept.traces();
    check_users(&traces);
    assert_eq!(traces.len(), 4 * RUNS, "the run, the nested one, and the wrapped client in both tools");
    assert!(traces.iter().all(|trace| trace.user_id.is_none() || trace.name == "boss"));
    assert!(reports.iter().any(|report| report.kind == ReportKind::IdentityWithheld));
}

struct Rephrases;

impl AgentHook for Rephrases {
    async fn on_dispatch(&self, _: &HookContext, event: DispatchEvent<'_>) -> DispatchAction {
        let mut kind = event.kind.clone();
        match &mut kind {
            EffectKind::Completion { request, .. } => {
                request.chat_history = vec![Message::user("please go")];
                DispatchAction::Patch(kind)
            }
            _ => DispatchAction::Proceed,
        }
    }
}

#[tokio::test]
async fn a_request_that_a_later_hook_changes() {
    let captured =
        run_of(|handler| builder([MockTurn::text("gone")]).add_hook(handler).add_hook(Rephrases).build())
            .await;
    let asked = json!({"messages": [{"role": "user", "content": "please go"}]});
    assert_eq!(captured.span("chat").input, Some(asked));
}
