//! Whose a run is.

use std::sync::{Arc, Mutex};

use adk_agent::LlmAgentBuilder;
use adk_core::AgentInvoker;
use futures_util::StreamExt;
use pandaprobe_adk::{AdkHandler, TracedRunner};
use pandaprobe_core::{InCurrentScope, Scope, session, span, testing::capture, trace, user};
use serde_json::json;

use crate::kit::{
    Scripted, agent, answer, ask, build, call, plain_runner, question, runner, say, start, tool, weather,
};

/// A runner of an agent that uses a tool, all wrapped with `handler`.
async fn forecaster(handler: &AdkHandler) -> TracedRunner {
    let model = Scripted::new("m1", |_, request| {
        let is_done = request.contents.last().is_some_and(|content| content.role == "function");
        if is_done { say("Sunny.") } else { vec![answer(vec![call("get_weather", json!({}))])] }
    });
    let agent = agent(handler, "forecaster", model).tool(handler.tool(weather()));
    runner(handler, build(handler, agent)).await
}

async fn whose(handler: AdkHandler, scope: Scope) -> (Option<String>, Option<String>) {
    let captured = capture(|| async {
        let runner = forecaster(&handler).await;
        scope.scope(ask(&runner, "ada", "Sunny?")).await;
    })
    .await;
    captured.assert_nothing_lost();
    assert_eq!(captured.trace("trips").spans.len(), 6);
    let trace = captured.trace("trips");
    (trace.session_id.clone(), trace.user_id.clone())
}

fn ids(session: &str, user: &str) -> (Option<String>, Option<String>) {
    (Some(session.to_owned()), Some(user.to_owned()))
}

#[tokio::test]
async fn a_run_is_whose_adk_says_if_nobody_else_does() {
    assert_eq!(whose(AdkHandler::new(), Scope::new()).await, ids("session-of-ada", "ada"));
}

#[tokio::test]
async fn scopes_go_before_adk_and_handlers_before_scopes() {
    assert_eq!(whose(AdkHandler::new(), user("grace")).await, ids("session-of-ada", "grace"));
    assert_eq!(whose(AdkHandler::new(), session("s").user("grace")).await, ids("s", "grace"));
    let handler = AdkHandler::new().user_id("joan");
    assert_eq!(whose(handler, session("s").user("grace")).await, ids("s", "joan"));
}

#[tokio::test]
async fn what_was_set_goes_before_adk() {
    let captured = capture(|| async {
        let runner = forecaster(&AdkHandler::new()).await;
        let request = async {
            pandaprobe_core::set_user("grace");
            ask(&runner, "ada", "Sunny?").await;
        };
        Scope::new().scope(request).await;
    })
    .await;
    captured.assert_user(Some("grace"));
    assert_eq!(captured.trace("trips").session_id.as_deref(), Some("session-of-ada"));
}

#[tokio::test]
async fn an_id_that_is_none_names_nobody() {
    let long = "x".repeat(300);
    let captured = capture(|| async {
        let runner = AdkHandler::new().runner(plain_runner(forecaster_agent(), &[&long]).await);
        ask(&runner, &long, "Sunny?").await;
    })
    .await;
    captured.assert_user(None);
}

fn forecaster_agent() -> Arc<dyn adk_core::Agent> {
    let handler = AdkHandler::new();
    build(&handler, agent(&handler, "forecaster", Scripted::turns("m1", [say("Yes.")])))
}

#[tokio::test]
async fn all_of_a_run_is_whose_the_run_is_whatever_handler_it_was_wrapped_with() {
    let captured = capture(|| async {
        // As of a server that wraps once, and is asked for many.
        let base = AdkHandler::new().session_id("nobody's").user_id("nobody");
        let model =
            Scripted::turns("m1", [vec![answer(vec![call("get_weather", json!({}))])], say("Sunny.")]);
        let inner = base.llm(Scripted::turns("m2", [say("Wet.")]));
        let asks = tool("get_weather", move |_, _| {
            let inner = Arc::clone(&inner);
            async move {
                let request = || adk_core::LlmRequest::new("m2", vec![question("Rain?")]);
                drop(inner.generate_content(request(), false).await?.collect::<Vec<_>>().await);
                // The same in a task that the scope was handed to.
                let asks =
                    async move { inner.generate_content(request(), false).await?.next().await.unwrap() };
                tokio::spawn(asks.in_current_scope()).await.unwrap()?;
                Ok(json!(1))
            }
        });
        let agent = build(&base, agent(&base, "forecaster", model).tool(base.tool(asks)));
        let runner = runner(&base, agent).await;
        ask(&runner.traced_by(&base.clone().session_id("trip").user_id("grace")), "ada", "Sunny?").await;
        ask(&runner.traced_by(&AdkHandler::new()), "ada", "Sunny?").await;
    })
    .await;
    captured.assert_nothing_lost();
    let [first, second] = captured.traces.as_slice() else { panic!("{}", captured.tree()) };
    assert_eq!((first.session_id.as_deref(), first.user_id.as_deref()), (Some("trip"), Some("grace")));
    assert_eq!(
        (second.session_id.as_deref(), second.user_id.as_deref()),
        (Some("session-of-ada"), Some("ada"))
    );
    assert_eq!(first.spans.iter().filter(|span| span.name == "m2").count(), 2, "{}", captured.tree());
}

#[tokio::test]
async fn a_run_in_a_trace_is_a_part_of_it_unless_it_is_somebody_elses() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let runner = forecaster(&handler).await;
        trace("request").user_id("grace").scope(|_| ask(&runner, "ada", "Sunny?")).await;
        let joan = runner.traced_by(&handler.clone().user_id("joan"));
        trace("other").user_id("grace").scope(|_| ask(&joan, "ada", "Sunny?")).await;
    })
    .await;
    let request = captured.trace("request");
    assert_eq!(request.user_id.as_deref(), Some("grace"));
    assert_eq!(request.session_id.as_deref(), Some("session-of-ada"));
    assert_eq!(request.spans.len(), 6);
    let own = captured.trace("trips");
    assert_eq!(own.user_id.as_deref(), Some("joan"));
    assert_eq!(
        own.metadata["pandaprobe.parent_trace_id"],
        json!(captured.trace("other").trace_id.to_string())
    );
    assert_eq!(own.spans.len(), 6);
}

#[tokio::test]
async fn two_runs_in_one_trace_of_two_users_of_adk_are_two_traces() {
    let captured = capture(|| async {
        let runner = forecaster(&AdkHandler::new()).await;
        let both = |_| async {
            ask(&runner, "ada", "Sunny?").await;
            ask(&runner, "grace", "Sunny?").await;
        };
        trace("batch").scope(both).await;
    })
    .await;
    assert_eq!(captured.trace("batch").user_id.as_deref(), Some("ada"));
    assert_eq!(captured.trace("trips").user_id.as_deref(), Some("grace"));
}

/// What begins where a run was asked for stays there, wherever its events are read.
#[tokio::test]
async fn a_stream_that_is_read_elsewhere_is_whose_it_was() {
    let captured = capture(|| async {
        let runner = forecaster(&AdkHandler::new()).await;
        let events = user("grace").scope(start(&runner, "ada", "Sunny?")).await;
        let read = user("joan").scope(trace("another's").scope(|_| events.collect::<Vec<_>>()));
        read.await;
    })
    .await;
    assert_eq!(captured.trace("trips").user_id.as_deref(), Some("grace"));
    assert_eq!(captured.trace("trips").spans.len(), 6);
    assert_eq!(captured.trace("another's").user_id.as_deref(), Some("joan"));
    assert_eq!(captured.trace("another's").spans.len(), 0);
}

#[tokio::test]
async fn outside_of_a_run_all_is_by_its_own_handler() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let model = handler.llm(Scripted::turns("m1", [say("Yes.")]));
        let request = || adk_core::LlmRequest::new("m1", vec![question("Sunny?")]);
        drop(model.generate_content(request(), false).await.unwrap().collect::<Vec<_>>().await);
        let grace = handler.clone().user_id("grace").llm(Arc::clone(&model));
        drop(grace.generate_content(request(), false).await.unwrap().collect::<Vec<_>>().await);
        handler.tool(weather()).execute(crate::context::tool_context("ada"), json!({})).await.unwrap();
        // A runner that is not wrapped.
        let agent = LlmAgentBuilder::new("forecaster").model(model).build().unwrap();
        let runner = plain_runner(handler.agent(Arc::new(agent)), &["ada"]).await;
        let events = runner.invoke("ada", "session-of-ada", question("Sunny?")).await.unwrap();
        drop(events.collect::<Vec<_>>().await);
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "m1 COMPLETED\n\
         └─ LLM m1 m1 20→5 tokens OK\n\
         m1 COMPLETED user=grace\n\
         └─ LLM m1 m1 20→5 tokens OK\n\
         get_weather COMPLETED session=a-session user=ada\n\
         └─ TOOL get_weather OK\n\
         \x20  └─ OTHER station OK\n\
         trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT forecaster OK\n\
         \x20     └─ LLM m1 m1 20→5 tokens OK\n",
    );
}

#[tokio::test]
async fn a_program_hears_of_each_trace_that_begins() {
    let heard: Arc<Mutex<Vec<_>>> = Arc::default();
    let captured = capture(|| async {
        let told = Arc::clone(&heard);
        let handler = AdkHandler::new().on_trace(move |trace| told.lock().unwrap().push(trace.clone()));
        let runner = forecaster(&handler).await;
        runner.invoke("ada", "new-session", question("Sunny?")).await.unwrap().collect::<Vec<_>>().await;
    })
    .await;
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].trace_id, captured.trace("trips").trace_id);
    assert_eq!(
        (heard[0].session_id.as_deref(), heard[0].user_id.as_deref()),
        (Some("new-session"), Some("ada"))
    );
}

/// A tool that works for somebody else says so, and that is not the run's.
#[tokio::test]
async fn a_tool_that_names_another_user_leaves_the_run() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let inner = handler.llm(Scripted::turns("m2", [say("Hers.")]));
        let asks = tool("get_weather", move |_, _| {
            let inner = Arc::clone(&inner);
            async move {
                let request = adk_core::LlmRequest::new("m2", vec![question("Rain?")]);
                let asks = async { inner.generate_content(request, false).await?.next().await.unwrap() };
                user("grace").scope(span("for-grace").scope(asks)).await?;
                Ok(json!(1))
            }
        });
        let model =
            Scripted::turns("m1", [vec![answer(vec![call("get_weather", json!({}))])], say("Sunny.")]);
        let agent = agent(&handler, "forecaster", model).tool(handler.tool(asks));
        let runner = runner(&handler, build(&handler, agent)).await;
        ask(&runner, "ada", "Sunny?").await;
    })
    .await;
    let hers: Vec<_> =
        captured.traces.iter().filter(|trace| trace.user_id.as_deref() == Some("grace")).collect();
    assert!(!hers.is_empty() && hers.iter().any(|trace| trace.spans.iter().any(|span| span.name == "m2")));
    assert!(captured.trace("trips").spans.iter().all(|span| span.name != "m2"), "{}", captured.tree());
}
