//! Agents that run agents.

use std::{sync::Arc, time::Duration};

use adk_agent::{ConditionalAgent, CustomAgentBuilder, LoopAgent, ParallelAgent, SequentialAgent};
use adk_core::{Agent, Event};
use futures_util::{StreamExt, stream};
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::{
    span,
    testing::{Captured, capture},
};
use serde_json::{Value, json};

use crate::kit::{Scripted, agent, answer, ask, build, call, messages, runner, say, tool};

/// An agent with a model of its own that says `words`.
fn sayer(handler: &AdkHandler, name: &str, words: &str) -> Arc<dyn Agent> {
    build(handler, agent(handler, name, Scripted::turns(&format!("m-{name}"), [say(words)])))
}

async fn run_of(agent: impl FnOnce(&AdkHandler) -> Arc<dyn Agent>) -> Captured<()> {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = agent(&handler);
        let runner = runner(&handler, agent).await;
        for event in ask(&runner, "ada", "Where to?").await {
            event.unwrap();
        }
    })
    .await;
    captured.assert_nothing_lost();
    captured
}

fn kind_of(captured: &Captured<()>, agent: &str) -> Value {
    captured.span(agent).metadata["adk.agent_type"].clone()
}

#[tokio::test]
async fn agents_in_a_row_stand_below_the_one_that_runs_them() {
    let captured = run_of(|handler| {
        let steps = vec![sayer(handler, "draft", "a draft"), sayer(handler, "review", "a review")];
        handler.agent(Arc::new(SequentialAgent::new("row", steps)))
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT row OK\n\
         \x20     ├─ AGENT draft OK\n\
         \x20     │  └─ LLM m-draft m-draft 20→5 tokens OK\n\
         \x20     └─ AGENT review OK\n\
         \x20        └─ LLM m-review m-review 20→5 tokens OK\n",
    );
    assert_eq!(kind_of(&captured, "row"), json!("SequentialAgent"));
    assert_eq!(captured.span("draft").output, Some(messages("assistant", "a draft")));
    assert_eq!(captured.trace("trips").output, Some(messages("assistant", "a review")));
}

#[tokio::test]
async fn agents_side_by_side_do_not_mix() {
    let captured = run_of(|handler| {
        let branches = (0..4).map(|nth| {
            let name = format!("branch-{nth}");
            let step = format!("step-{nth}");
            let work = tool("work", move |_, _| {
                let step = step.clone();
                async move {
                    for _ in 0..3 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        span(step.clone()).scope(tokio::task::yield_now()).await;
                    }
                    Ok(json!(nth))
                }
            });
            let model = Scripted::turns(
                &format!("m-{nth}"),
                [vec![answer(vec![call("work", json!({}))])], say(&format!("done {nth}"))],
            );
            build(handler, agent(handler, &name, model).tool(handler.tool(work)))
        });
        handler.agent(Arc::new(ParallelAgent::new("fan", branches.collect()).with_shared_state()))
    })
    .await;
    let trace = captured.trace("trips");
    let parent_of = |name: &str| {
        let spans: Vec<_> = trace.spans.iter().filter(|span| span.name == name).collect();
        let parents: Vec<_> = spans
            .iter()
            .map(|span| {
                trace.spans.iter().find(|parent| Some(parent.span_id) == span.parent_span_id).unwrap()
            })
            .collect();
        parents.into_iter().map(|span| (span.name.clone(), span.span_id)).collect::<Vec<_>>()
    };
    assert_eq!(kind_of(&captured, "fan"), json!("ParallelAgent"));
    for nth in 0..4 {
        assert_eq!(parent_of(&format!("branch-{nth}"))[0].0, "fan");
        assert!(parent_of(&format!("m-{nth}")).iter().all(|(name, _)| *name == format!("branch-{nth}")));
        let tools = parent_of(&format!("step-{nth}"));
        assert_eq!(tools.len(), 3);
        let tool = trace.spans.iter().find(|span| span.span_id == tools[0].1).unwrap();
        assert!(tools.iter().all(|(_, id)| *id == tool.span_id));
        assert_eq!(tool.output, Some(json!(nth)));
        let branch = captured.span(&format!("branch-{nth}"));
        assert_eq!(tool.parent_span_id, Some(branch.span_id));
        assert_eq!(branch.metadata["adk.branch"], json!(format!("fan.branch-{nth}")));
        assert_eq!(branch.output, Some(messages("assistant", &format!("done {nth}"))));
    }
}

#[tokio::test]
async fn a_loop_runs_its_agent_again() {
    let captured = run_of(|handler| {
        let steps = vec![sayer(handler, "again", "once more")];
        handler.agent(Arc::new(LoopAgent::new("loop", steps).with_max_iterations(2)))
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT loop OK\n\
         \x20     ├─ AGENT again OK\n\
         \x20     │  └─ LLM m-again m-again 20→5 tokens OK\n\
         \x20     └─ AGENT again OK\n\
         \x20        └─ LLM m-again m-again 20→5 tokens OK\n",
    );
    assert_eq!(kind_of(&captured, "loop"), json!("LoopAgent"));
}

#[tokio::test]
async fn a_condition_and_an_agent_of_ones_own() {
    let captured = run_of(|handler| {
        let custom = CustomAgentBuilder::new("custom").handler(|ctx| async move {
            span("look-up").scope(tokio::task::yield_now()).await;
            let events = stream::once(async move {
                span("write").scope(tokio::task::yield_now()).await;
                let mut event = Event::new(ctx.invocation_id());
                event.author = "custom".to_owned();
                event.set_content(adk_core::Content::new("model").with_text("by hand"));
                Ok(event)
            });
            Ok(events.boxed())
        });
        let custom = handler.agent(Arc::new(custom.build().unwrap()));
        handler.agent(Arc::new(ConditionalAgent::new("if", |_| true, custom)))
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT if OK\n\
         \x20     └─ AGENT custom OK\n\
         \x20        ├─ OTHER look-up OK\n\
         \x20        └─ OTHER write OK\n",
    );
    assert_eq!(
        (kind_of(&captured, "if"), kind_of(&captured, "custom")),
        (json!("ConditionalAgent"), json!("CustomAgent"))
    );
    assert_eq!(captured.trace("trips").output, Some(messages("assistant", "by hand")));
}

#[tokio::test]
async fn one_branch_that_fails_leaves_the_others() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let fails = Scripted::turns("m-bad", [vec![crate::kit::Piece::Fail("the model is down")]]);
        let branches = vec![build(&handler, agent(&handler, "bad", fails)), sayer(&handler, "good", "fine")];
        let runner = runner(&handler, handler.agent(Arc::new(ParallelAgent::new("fan", branches)))).await;
        ask(&runner, "ada", "Where to?").await;
    })
    .await;
    captured.assert_tree(
        "trips ERROR session=session-of-ada user=ada\n\
         └─ CHAIN trips ERROR: model.internal: the model is down\n\
         \x20  └─ AGENT fan ERROR: model.internal: the model is down\n\
         \x20     ├─ AGENT bad ERROR: model.internal: the model is down\n\
         \x20     │  └─ LLM m-bad m-bad ERROR: model.internal: the model is down\n\
         \x20     └─ AGENT good OK\n\
         \x20        └─ LLM m-good m-good 20→5 tokens OK\n",
    );
    assert_eq!(captured.trace("trips").output, Some(messages("assistant", "fine")));
}

/// An agent as a tool has a session of its own, which is not the run's.
#[tokio::test]
async fn an_agent_as_a_tool_stands_below_its_call() {
    let captured = run_of(|handler| {
        let expert = sayer(handler, "expert", "it rains");
        let asks = tool("ask_expert", move |_, _| {
            let expert = Arc::clone(&expert);
            async move {
                let context = crate::kit::invocation(Arc::clone(&expert)).await;
                let said: Vec<_> = expert.run(context).await?.collect().await;
                Ok(json!(said.len()))
            }
        });
        let calls = vec![answer(vec![call("ask_expert", json!({})), call("ask_expert", json!({}))])];
        let model = Scripted::turns("m1", [calls, say("It rains.")]);
        let agent = agent(handler, "asker", model).tool(handler.tool(asks));
        build(handler, agent.tool_execution_strategy(adk_core::ToolExecutionStrategy::Parallel))
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT asker OK\n\
         \x20     ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20     ├─ TOOL ask_expert OK\n\
         \x20     │  └─ AGENT expert OK\n\
         \x20     │     └─ LLM m-expert m-expert 20→5 tokens OK\n\
         \x20     ├─ TOOL ask_expert OK\n\
         \x20     │  └─ AGENT expert OK\n\
         \x20     │     └─ LLM m-expert m-expert 20→5 tokens OK\n\
         \x20     └─ LLM m1 m1 20→5 tokens OK\n",
    );
}

/// What a wrapped toolset gives is wrapped.
#[tokio::test]
async fn a_toolset_gives_tools_that_are_recorded() {
    struct Tools;

    #[async_trait::async_trait]
    impl adk_core::Toolset for Tools {
        fn name(&self) -> &str {
            "tools"
        }

        async fn tools(
            &self,
            _: Arc<dyn adk_core::ReadonlyContext>,
        ) -> adk_core::Result<Vec<Arc<dyn adk_core::Tool>>> {
            Ok(vec![crate::kit::weather()])
        }
    }

    let captured = run_of(|handler| {
        let model =
            Scripted::turns("m1", [vec![answer(vec![call("get_weather", json!({}))])], say("Sunny.")]);
        build(handler, agent(handler, "forecaster", model).toolset(handler.toolset(Arc::new(Tools))))
    })
    .await;
    assert_eq!(captured.span("get_weather").parent_span_id, Some(captured.span("forecaster").span_id));
    assert_eq!(captured.span("station").parent_span_id, Some(captured.span("get_weather").span_id));
}
