//! What adk-rust 2.3 does not show, or shows in another way than one might think: one entry each, proved by running it.
//! An entry whose proof fails is a thing that adk has learned, and then this integration should too.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use adk_agent::{LlmAgentBuilder, SequentialAgent};
use adk_core::{
    Agent, AgentInvoker, BeforeModelResult, Content, LlmRequest, LlmResponse, ToolConfirmationPolicy,
};
use adk_plugin::{PluginBuilder, PluginManager};
use adk_runner::Runner;
use futures_util::StreamExt;
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::testing::{Captured, capture};
use serde_json::json;

use crate::kit::{
    Scripted, agent, answer, ask, build, call, plain_runner, question, runner, say, text, tool, weather,
};

type Proof = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// What, why, and the proof.
const UNSEEN: &[(&str, &str, Proof)] = &[
    (
        "agents, models and tools by a plugin of the runner",
        "those callbacks of a plugin are never called: they can be set and never fire",
        || Box::pin(callbacks_of_a_plugin()),
    ),
    (
        "that a run is read no further, by a plugin of the runner",
        "after_run is not called then, so that a run that was begun by before_run would never end",
        || Box::pin(dropped_runs_by_a_plugin()),
    ),
    (
        "calls of tools that reach no tool: unknown, forbidden, or answered by a callback",
        "the agent answers them itself. The next call of the model has them in its input",
        || Box::pin(calls_without_a_tool()),
    ),
    ("model calls that a before_model callback answers", "the model is not asked", || {
        Box::pin(skipped_models())
    }),
    (
        "which message is the instruction",
        "adk sends it as a message of the user",
        || Box::pin(instructions()),
    ),
    ("which model answered", "an answer does not name it: the span has the name that was asked for", || {
        Box::pin(answering_model())
    }),
    (
        "agents that a workflow agent was built with, if they were not wrapped",
        "it runs them itself. Their model calls stand below the workflow agent",
        || Box::pin(unwrapped_steps()),
    ),
    (
        "of what type an agent is that comes as `dyn Agent`",
        "it cannot be asked. Wrap it before its type is forgotten",
        || Box::pin(forgotten_types()),
    ),
    (
        "runs that end before an agent begins, if the runner is not wrapped",
        "it shows itself to its agents alone",
        || Box::pin(runs_without_an_agent()),
    ),
    ("errors of plugins, if the runner is not wrapped", "the agent is only read no further", || {
        Box::pin(errors_of_plugins())
    }),
    (
        "whose a summary is that a runner asks a model for, if the runner is not wrapped",
        "no agent runs then, and a model is given nothing by which to know its run",
        || Box::pin(summaries()),
    ),
    (
        "why a tool did not finish",
        "adk drops the call, whether it took too long or the run was left: both are cancelled",
        || Box::pin(timeouts()),
    ),
    (
        "what belongs to a run in a task that was spawned without its scope",
        "adk gives a model nothing by which to know its run: it is a trace of its own, of nobody",
        || Box::pin(spawned_bare()),
    ),
    (
        "what an after_model callback made of an answer",
        "the agent does that: the span says what the model said, and the agent's output what came of it",
        || Box::pin(changed_answers()),
    ),
];

#[tokio::test]
async fn what_cannot_be_seen_is_what_adk_does_not_show() {
    for (what, why, proof) in UNSEEN {
        assert!(!what.is_empty() && !why.is_empty());
        proof().await;
    }
}

fn lines(captured: &Captured<()>, kind: &str) -> usize {
    captured.tree().lines().filter(|line| line.contains(kind)).count()
}

/// A call of `get_weather`, and then a text.
fn calls_weather() -> Arc<Scripted> {
    Scripted::turns("m1", [vec![answer(vec![call("get_weather", json!({}))])], say("Sunny.")])
}

async fn with_plugin(model: Arc<Scripted>, plugin: PluginBuilder, handler: Option<&AdkHandler>) -> Runner {
    let agent = LlmAgentBuilder::new("a").model(model).tool(weather()).build().unwrap();
    let agent: Arc<dyn Agent> = Arc::new(agent);
    let agent = handler.map_or(Arc::clone(&agent), |handler| handler.agent(agent));
    let sessions = plain_runner(Arc::clone(&agent), &["ada"]).await.session_service().clone();
    let plugins = Arc::new(PluginManager::new(vec![plugin.build()]));
    let runner = Runner::builder().app_name("trips").agent(agent).session_service(sessions);
    runner.plugin_manager(plugins).build().unwrap()
}

async fn callbacks_of_a_plugin() {
    let fired: Arc<Mutex<Vec<&str>>> = Arc::default();
    let fires = |name: &'static str| {
        let fired = Arc::clone(&fired);
        move || fired.lock().unwrap().push(name)
    };
    let [run, agent, after_agent, model, after_model, before_tool, after_tool] =
        ["run", "agent", "after_agent", "model", "after_model", "tool", "after_tool"].map(fires);
    let plugin = PluginBuilder::new("p")
        .before_run(Box::new(move |_| {
            run();
            Box::pin(async { Ok(None) })
        }))
        .before_agent(Box::new(move |_| {
            agent();
            Box::pin(async { Ok(None) })
        }))
        .after_agent(Box::new(move |_| {
            after_agent();
            Box::pin(async { Ok(None) })
        }))
        .before_model(Box::new(move |_, request| {
            model();
            Box::pin(async { Ok(BeforeModelResult::Continue(request)) })
        }))
        .after_model(Box::new(move |_, _| {
            after_model();
            Box::pin(async { Ok(None) })
        }))
        .before_tool(Box::new(move |_| {
            before_tool();
            Box::pin(async { Ok(None) })
        }))
        .after_tool(Box::new(move |_| {
            after_tool();
            Box::pin(async { Ok(None) })
        }));
    let runner = with_plugin(calls_weather(), plugin, None).await;
    let events = runner.invoke("ada", "s", question("Sunny?")).await.unwrap();
    assert!(events.count().await > 3);
    assert_eq!(*fired.lock().unwrap(), ["run"]);
}

async fn dropped_runs_by_a_plugin() {
    let after: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&after);
    let plugin = PluginBuilder::new("p").after_run(Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {})
    }));
    let runner = with_plugin(calls_weather(), plugin, None).await;
    let mut events = runner.invoke("ada", "s", question("Sunny?")).await.unwrap();
    events.next().await.unwrap().unwrap();
    drop(events);
    assert_eq!(after.load(Ordering::SeqCst), 0);
}

async fn calls_without_a_tool() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let calls = vec![answer(vec![call("unheard_of", json!({})), call("get_weather", json!({}))])];
        let model = Scripted::turns("m1", [calls, say("I cannot.")]);
        let answers = |_| -> Pin<Box<dyn Future<Output = adk_core::Result<Option<Content>>> + Send>> {
            Box::pin(async { Ok(Some(Content::new("function").with_text("by a callback"))) })
        };
        let agent =
            agent(&handler, "a", model).tool(handler.tool(weather())).before_tool_callback(Box::new(answers));
        ask(&runner(&handler, build(&handler, agent)).await, "ada", "Sunny?").await;

        let forbidden = crate::kit::agent(&handler, "b", calls_weather())
            .tool(handler.tool(weather()))
            .tool_confirmation_policy(ToolConfirmationPolicy::Always);
        ask(&runner(&handler, build(&handler, forbidden)).await, "ada", "Sunny?").await;
    })
    .await;
    assert_eq!(lines(&captured, "TOOL"), 0, "{}", captured.tree());
    let second = captured.traces[0].spans.iter().rfind(|span| span.name == "m1").unwrap();
    let asked = second.input.as_ref().unwrap().to_string();
    assert!(asked.contains("by a callback"), "{asked}");
}

async fn skipped_models() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = agent(&handler, "a", calls_weather()).before_model_callback(Box::new(|_, _| {
            Box::pin(async {
                Ok(BeforeModelResult::Skip(LlmResponse::new(Content::new("model").with_text("from a cache"))))
            })
        }));
        ask(&runner(&handler, build(&handler, agent)).await, "ada", "Sunny?").await;
    })
    .await;
    assert_eq!(lines(&captured, "LLM"), 0);
    assert_eq!(captured.trace("trips").output, Some(crate::kit::messages("assistant", "from a cache")));
}

async fn instructions() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = agent(&handler, "a", Scripted::turns("m1", [say("Yes.")])).instruction("Be brief.");
        ask(&runner(&handler, build(&handler, agent)).await, "ada", "Sunny?").await;
    })
    .await;
    let asked = &captured.span("m1").input.as_ref().unwrap()["messages"];
    assert_eq!(asked[0], json!({"role": "user", "content": "Be brief."}));
}

async fn answering_model() {
    let mut response = serde_json::to_value(LlmResponse::default()).unwrap();
    response["model"] = json!("m1-2026");
    let response: LlmResponse = serde_json::from_value(response).unwrap();
    assert!(!json!(response).to_string().contains("m1-2026"));
}

async fn unwrapped_steps() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let step = agent(&handler, "step", Scripted::turns("m1", [say("Yes.")])).build().unwrap();
        let row = handler.agent(Arc::new(SequentialAgent::new("row", vec![Arc::new(step)])));
        ask(&runner(&handler, row).await, "ada", "Sunny?").await;
    })
    .await;
    let row = captured.span("row").span_id;
    assert_eq!((lines(&captured, "AGENT"), captured.span("m1").parent_span_id), (1, Some(row)));
}

async fn forgotten_types() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = agent(&handler, "a", Scripted::turns("m1", [say("Yes.")])).build().unwrap();
        let agent: Arc<dyn Agent> = Arc::new(agent);
        ask(&runner(&handler, handler.agent(agent)).await, "ada", "Sunny?").await;
    })
    .await;
    assert!(!captured.span("a").metadata.contains_key("adk.agent_type"));
}

async fn runs_without_an_agent() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = build(&handler, agent(&handler, "a", Scripted::turns("m1", [say("Yes.")])));
        let runner = plain_runner(agent, &[]).await;
        let mut events = runner.run_str("ada", "no-such-session", question("Sunny?")).await.unwrap();
        events.next().await.unwrap().unwrap_err();
    })
    .await;
    captured.assert_tree("");
}

/// How a run ends that a plugin makes fail, under a runner that is wrapped or not.
async fn with_broken_plugin(wrapped: bool) -> String {
    let captured = capture(|| async {
        let plugin = PluginBuilder::new("p")
            .on_event(Box::new(|_, _| Box::pin(async { Err(adk_core::AdkError::agent("a broken plugin")) })));
        let handler = AdkHandler::new();
        let runner = with_plugin(calls_weather(), plugin, Some(&handler)).await;
        let events = match wrapped {
            true => handler.runner(runner).invoke("ada", "s", question("Sunny?")).await,
            false => runner.invoke("ada", "s", question("Sunny?")).await,
        };
        assert!(events.unwrap().collect::<Vec<_>>().await.iter().any(Result::is_err));
    });
    captured.await.tree().lines().find(|line| line.contains("CHAIN")).unwrap().to_owned()
}

async fn errors_of_plugins() {
    assert_eq!(with_broken_plugin(true).await, "└─ CHAIN trips ERROR: agent.internal: a broken plugin");
    assert_eq!(with_broken_plugin(false).await, "└─ CHAIN trips OK (stopped_by_reader)");
}

async fn with_summaries(wrapped: bool) -> Captured<()> {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = build(&handler, agent(&handler, "a", Scripted::turns("m1", [say("Yes.")])));
        let summarizer =
            adk_agent::LlmEventSummarizer::new(handler.llm(Scripted::turns("m2", [say("In short.")])));
        let compaction = adk_core::EventsCompactionConfig {
            compaction_interval: 1,
            overlap_size: 0,
            summarizer: Arc::new(summarizer),
        };
        let sessions = plain_runner(Arc::clone(&agent), &[]).await.session_service().clone();
        let runner = Runner::builder().app_name("trips").agent(agent).session_service(sessions);
        let runner = runner.compaction_config(compaction).build().unwrap();
        let events = match wrapped {
            true => handler.runner(runner).invoke("ada", "s", question("Sunny?")).await,
            false => runner.invoke("ada", "s", question("Sunny?")).await,
        };
        assert!(events.unwrap().count().await > 0);
    });
    captured.await
}

async fn summaries() {
    let captured = with_summaries(true).await;
    assert_eq!(captured.span("m2").parent_span_id, Some(captured.span("trips").span_id));
    let captured = with_summaries(false).await;
    let alone = captured.trace("m2");
    assert_eq!((alone.user_id.as_deref(), alone.session_id.as_deref()), (None, None));
}

async fn timeouts() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let hangs = handler.tool(tool("get_weather", |_, _| std::future::pending()));
        let agent = agent(&handler, "a", calls_weather()).tool(hangs).tool_timeout(Duration::from_millis(5));
        ask(&runner(&handler, build(&handler, agent)).await, "ada", "Sunny?").await;
    })
    .await;
    assert_eq!(captured.span("get_weather").error.as_deref(), Some("cancelled"));
}

async fn spawned_bare() {
    let captured = capture(|| async {
        let client = pandaprobe_core::current_client().unwrap();
        let handler = AdkHandler::new().client(client);
        let inner = handler.llm(Scripted::turns("m2", [say("Wet.")]));
        let asks = tool("get_weather", move |_, _| {
            let inner = Arc::clone(&inner);
            async move {
                let request = LlmRequest::new("m2", vec![question("Rain?")]);
                let asks = async move { inner.generate_content(request, true).await?.next().await.unwrap() };
                tokio::spawn(asks).await.unwrap()?;
                Ok(json!(1))
            }
        });
        let agent = agent(&handler, "a", calls_weather()).tool(handler.tool(asks));
        ask(&runner(&handler, build(&handler, agent)).await, "ada", "Sunny?").await;
    })
    .await;
    let alone = captured.trace("m2");
    assert_eq!((alone.user_id.as_deref(), alone.session_id.as_deref()), (None, None));
}

async fn changed_answers() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let agent = agent(&handler, "a", Scripted::turns("m1", [say("secret")])).after_model_callback(
            Box::new(|_, mut response| {
                Box::pin(async move {
                    response.content = Some(Content { role: "model".to_owned(), parts: vec![text("***")] });
                    Ok(Some(response))
                })
            }),
        );
        ask(&runner(&handler, build(&handler, agent)).await, "ada", "Sunny?").await;
    })
    .await;
    assert_eq!(captured.span("m1").output, Some(crate::kit::messages("assistant", "secret")));
    assert_eq!(captured.span("a").output, Some(crate::kit::messages("assistant", "***")));
}
