//! How runs end: with errors, early, and not recorded at all.

use std::{sync::Arc, time::Duration};

use adk_agent::{CustomAgentBuilder, LlmAgentBuilder};
use adk_core::{AdkError, AgentInvoker};
use futures_util::{StreamExt, stream};
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::{
    Client, Config, MemoryExporter,
    testing::{Captured, capture},
};
use serde_json::json;

use crate::kit::{
    Piece, Scripted, agent, answer, ask, build, call, messages, partial, runner, say, start, text, tool,
    weather,
};

/// A run of an agent with that model.
async fn run_of(model: Arc<Scripted>) -> Captured<()> {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = agent(&handler, "forecaster", model).tool(handler.tool(weather()));
        let runner = runner(&handler, build(&handler, agent)).await;
        ask(&runner, "ada", "Sunny?").await;
    });
    let captured = captured.await;
    captured.assert_nothing_lost();
    captured
}

const FAILED: &str = "trips ERROR session=session-of-ada user=ada\n\
     └─ CHAIN trips ERROR: model.internal: the model is down\n\
     \x20  └─ AGENT forecaster ERROR: model.internal: the model is down\n\
     \x20     └─ LLM m1 m1 ERROR: model.internal: the model is down\n";

#[tokio::test]
async fn a_model_that_fails_fails_the_run() {
    let captured = run_of(Scripted::turns("m1", [vec![Piece::Fail("the model is down")]])).await;
    captured.assert_tree(FAILED);
}

#[tokio::test]
async fn a_model_that_fails_half_way_fails_the_run_and_what_it_said_is_kept() {
    let pieces = vec![partial(vec![text("It is ")]), Piece::Fail("the model is down")];
    let captured = run_of(Scripted::turns("m1", [pieces])).await;
    captured.assert_tree(FAILED);
    assert_eq!(captured.span("m1").output, Some(messages("assistant", "It is ")));
    assert_eq!(captured.trace("trips").output, Some(messages("assistant", "It is ")));
}

#[tokio::test]
async fn an_error_that_a_model_answers_fails_the_run() {
    let mut response = adk_core::LlmResponse::new(adk_core::Content::new("model"));
    (response.error_code, response.error_message) = (Some("SAFETY".to_owned()), Some("not this".to_owned()));
    let captured = run_of(Scripted::turns("m1", [vec![Piece::Say(Box::new(response))]])).await;
    captured.assert_tree(
        "trips ERROR session=session-of-ada user=ada\n\
         └─ CHAIN trips ERROR: model.internal: SAFETY: not this\n\
         \x20  └─ AGENT forecaster ERROR: model.internal: SAFETY: not this\n\
         \x20     └─ LLM m1 m1 ERROR: SAFETY: not this\n",
    );
}

#[tokio::test]
async fn a_tool_that_fails_is_an_error_and_the_agent_that_goes_on_is_none() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let fails = tool("get_weather", |_, _| async { Err(AdkError::tool("no such city")) });
        let model =
            Scripted::turns("m1", [vec![answer(vec![call("get_weather", json!({}))])], say("I cannot.")]);
        let agent = agent(&handler, "forecaster", model).tool(handler.tool(fails));
        let runner = runner(&handler, build(&handler, agent)).await;
        ask(&runner, "ada", "Sunny?").await;
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT forecaster OK\n\
         \x20     ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20     ├─ TOOL get_weather ERROR: tool.internal: no such city\n\
         \x20     └─ LLM m1 m1 20→5 tokens OK\n",
    );
}

#[tokio::test]
async fn a_tool_whose_error_the_agent_does_not_handle_fails_the_run() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let fails = handler.tool(tool("get_weather", |_, _| async { Err(AdkError::tool("no such city")) }));
        let custom = CustomAgentBuilder::new("custom")
            .handler(move |ctx| {
                let fails = Arc::clone(&fails);
                async move {
                    fails.execute(crate::context::tool_context(ctx.user_id()), json!({})).await?;
                    Ok(stream::empty().boxed())
                }
            })
            .build()
            .unwrap();
        let runner = runner(&handler, handler.agent(Arc::new(custom))).await;
        ask(&runner, "ada", "Sunny?").await;
    })
    .await;
    captured.assert_tree(
        "trips ERROR session=session-of-ada user=ada\n\
         └─ CHAIN trips ERROR: tool.internal: no such city\n\
         \x20  └─ AGENT custom ERROR: tool.internal: no such city\n\
         \x20     └─ TOOL get_weather ERROR: tool.internal: no such city\n",
    );
}

#[tokio::test]
async fn a_tool_that_panics_says_so_and_one_that_takes_too_long_is_cancelled() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let panics = tool("panics", |_, _| async { panic!("out of umbrellas") });
        let hangs = tool("hangs", |_, _| std::future::pending());
        let calls = vec![answer(vec![call("panics", json!({})), call("hangs", json!({}))])];
        let agent = agent(&handler, "forecaster", Scripted::turns("m1", [calls, say("I cannot.")]))
            .tool(handler.tool(panics))
            .tool(handler.tool(hangs))
            .tool_timeout(Duration::from_millis(20));
        let runner = runner(&handler, build(&handler, agent)).await;
        ask(&runner, "ada", "Sunny?").await;
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK\n\
         \x20  └─ AGENT forecaster OK\n\
         \x20     ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20     ├─ TOOL panics ERROR: panicked: out of umbrellas\n\
         \x20     ├─ TOOL hangs ERROR: cancelled (cancelled)\n\
         \x20     └─ LLM m1 m1 20→5 tokens OK\n",
    );
}

#[tokio::test]
async fn each_attempt_of_a_tool_is_a_step() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let attempts = std::sync::atomic::AtomicUsize::new(0);
        let flaky = tool("flaky", move |_, _| {
            let first = attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            async move { if first { Err(AdkError::tool("not yet")) } else { Ok(json!(1)) } }
        });
        let model = Scripted::turns("m1", [vec![answer(vec![call("flaky", json!({}))])], say("Done.")]);
        let agent = agent(&handler, "forecaster", model)
            .tool(handler.tool(flaky))
            .default_retry_budget(adk_core::RetryBudget::new(1, Duration::ZERO));
        let runner = runner(&handler, build(&handler, agent)).await;
        ask(&runner, "ada", "Sunny?").await;
    })
    .await;
    let tools: Vec<_> =
        captured.tree().lines().filter(|line| line.contains("TOOL")).map(str::to_owned).collect();
    assert_eq!(tools.len(), 2, "{tools:?}");
}

#[tokio::test]
async fn a_run_that_is_read_no_further_keeps_what_was_said() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let model = Scripted::turns("m1", [vec![partial(vec![text("It is ")]), Piece::Hang]]);
        let runner = runner(&handler, build(&handler, agent(&handler, "forecaster", model))).await;
        let mut events = start(&runner, "ada", "Sunny?").await;
        events.next().await.unwrap().unwrap();
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK (stopped_by_reader)\n\
         \x20  └─ AGENT forecaster OK (stopped_by_reader)\n\
         \x20     └─ LLM m1 m1 OK (stopped_by_reader)\n",
    );
    let trace = captured.trace("trips");
    for span in &trace.spans {
        assert_eq!(span.metadata["pandaprobe.end"], json!("stopped_by_reader"), "{}", span.name);
        assert_eq!(span.output, Some(messages("assistant", "It is ")));
    }
}

#[tokio::test]
async fn a_tool_of_a_run_that_is_read_no_further_is_cancelled() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let hangs = tool("hangs", |_, _| std::future::pending());
        let model = Scripted::turns("m1", [vec![answer(vec![call("hangs", json!({}))])]]);
        let agent = agent(&handler, "forecaster", model).tool(handler.tool(hangs));
        let runner = runner(&handler, build(&handler, agent)).await;
        let read = start(&runner, "ada", "Sunny?").await.collect::<Vec<_>>();
        tokio::time::timeout(Duration::from_millis(20), read).await.unwrap_err();
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n\
         └─ CHAIN trips OK (stopped_by_reader)\n\
         \x20  └─ AGENT forecaster OK (stopped_by_reader)\n\
         \x20     ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20     └─ TOOL hangs ERROR: cancelled (cancelled)\n",
    );
}

#[tokio::test]
async fn a_run_that_is_never_read_is_a_trace() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let model = Scripted::turns("m1", [say("Yes.")]);
        let runner = runner(&handler, build(&handler, agent(&handler, "forecaster", model))).await;
        drop(start(&runner, "ada", "Sunny?").await);
    })
    .await;
    captured.assert_tree(
        "trips COMPLETED session=session-of-ada user=ada\n└─ CHAIN trips OK (stopped_by_reader)\n",
    );
    assert_eq!(captured.span("trips").metadata["pandaprobe.end"], json!("stopped_by_reader"));
}

#[tokio::test]
async fn a_run_that_is_interrupted_is_cancelled() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let model = Scripted::turns("m1", [vec![partial(vec![text("It is ")]), Piece::Hang]]);
        let runner = runner(&handler, build(&handler, agent(&handler, "forecaster", model))).await;
        let mut events = start(&runner, "ada", "Sunny?").await;
        events.next().await.unwrap().unwrap();
        assert!(runner.interrupt("session-of-ada"));
        assert!(events.next().await.is_none());
    })
    .await;
    captured.assert_tree(
        "trips ERROR session=session-of-ada user=ada\n\
         └─ CHAIN trips ERROR: cancelled (cancelled)\n\
         \x20  └─ AGENT forecaster ERROR: cancelled (cancelled)\n\
         \x20     └─ LLM m1 m1 ERROR: cancelled (cancelled)\n",
    );
}

/// What destructors record is still below the step that they belong to.
#[tokio::test]
async fn what_is_dropped_with_a_run_is_recorded_in_its_place() {
    struct Clean(&'static str);

    impl Drop for Clean {
        fn drop(&mut self) {
            pandaprobe_core::span(self.0).run(|_| ());
        }
    }

    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let hangs = handler.tool(tool("hangs", |_, _| async {
            let _clean = Clean("clean-tool");
            std::future::pending().await
        }));
        let custom = CustomAgentBuilder::new("custom").handler(move |ctx| {
            let (clean, hangs) = (Clean("clean-agent"), Arc::clone(&hangs));
            async move {
                let first = stream::once(std::future::ready(Ok(adk_core::Event::new(ctx.invocation_id()))));
                let then = stream::once(async move {
                    let _clean = clean;
                    hangs.execute(crate::context::tool_context("ada"), json!({})).await?;
                    Ok(adk_core::Event::new("never"))
                });
                Ok(first.chain(then).boxed())
            }
        });
        let runner = runner(&handler, handler.agent(Arc::new(custom.build().unwrap()))).await;
        let mut events = start(&runner, "ada", "Sunny?").await;
        events.next().await.unwrap().unwrap();
        let next = events.next();
        tokio::time::timeout(Duration::from_millis(5), next).await.unwrap_err();
        // In a trace of somebody else.
        pandaprobe_core::trace("other").run(|_| drop(events));
    })
    .await;
    let [run, other] = captured.traces.as_slice() else { panic!("{}", captured.tree()) };
    let (run, other) = if other.name == "other" { (run, other) } else { (other, run) };
    assert!(other.spans.is_empty());
    let id_of = |name: &str| run.spans.iter().find(|span| span.name == name).unwrap().span_id;
    assert_eq!(captured.span("clean-tool").parent_span_id, Some(id_of("hangs")));
    assert_eq!(captured.span("clean-agent").parent_span_id, Some(id_of("custom")));
}

#[tokio::test]
async fn an_agent_that_panics_says_so() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let custom = CustomAgentBuilder::new("custom")
            .handler(|_| async { Ok(stream::once(async { panic!("out of umbrellas") }).boxed()) });
        let runner = runner(&handler, handler.agent(Arc::new(custom.build().unwrap()))).await;
        let events = start(&runner, "ada", "Sunny?").await;
        let read = tokio::spawn(pandaprobe_core::Scope::current().scope(events.collect::<Vec<_>>()));
        assert!(read.await.unwrap_err().is_panic());
    })
    .await;
    captured.assert_tree(
        "trips ERROR session=session-of-ada user=ada\n\
         └─ CHAIN trips ERROR: panicked: out of umbrellas\n\
         \x20  └─ AGENT custom ERROR: panicked: out of umbrellas\n",
    );
}

/// A runner lets runs of one session wait for each other.
#[tokio::test]
async fn a_run_that_is_given_up_before_it_has_events_is_cancelled() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let model = Scripted::turns("m1", [vec![partial(vec![text("It is ")]), Piece::Hang]]);
        let runner = runner(&handler, build(&handler, agent(&handler, "forecaster", model))).await;
        let first = runner.invoke("ada", "s", crate::kit::question("Sunny?")).await.unwrap();
        let second = runner.invoke("ada", "s", crate::kit::question("Rain?"));
        assert!(tokio::time::timeout(Duration::from_millis(5), second).await.is_err());
        drop(first);
    })
    .await;
    assert!(captured.tree().contains("└─ CHAIN trips ERROR: cancelled (cancelled)\n"), "{}", captured.tree());
}

#[tokio::test]
async fn a_run_without_a_session_is_a_trace_that_says_why() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let model = Scripted::turns("m1", [say("Yes.")]);
        let runner = runner(&handler, build(&handler, agent(&handler, "forecaster", model))).await;
        let words = crate::kit::question("Sunny?");
        let mut events = runner.run_str("nobody", "nowhere", words.clone()).await.unwrap();
        events.next().await.unwrap().unwrap_err();
        assert!(runner.run_str("", "s", words).await.is_err());
    })
    .await;
    assert_eq!(captured.traces.len(), 1);
    assert!(captured.tree().starts_with("trips ERROR session=nowhere user=nobody\n"), "{}", captured.tree());
}

#[tokio::test]
async fn a_client_that_is_off_records_nothing_and_changes_nothing() {
    let off = Client::new(Config::new().enabled(false).exporter(MemoryExporter::default())).unwrap();
    let captured = capture(|| async {
        // The agent's own handler would record.
        let on = AdkHandler::new();
        let model =
            Scripted::turns("m1", [vec![answer(vec![call("get_weather", json!({}))])], say("Sunny.")]);
        let agent = LlmAgentBuilder::new("forecaster").model(on.llm(model)).tool(on.tool(weather()));
        let agent = on.agent(Arc::new(agent.build().unwrap()));
        let runner = runner(&AdkHandler::new().client(off), agent).await;
        ask(&runner, "ada", "Sunny?").await.len()
    })
    .await;
    captured.assert_tree("");
    assert!(captured.output > 0);
}
