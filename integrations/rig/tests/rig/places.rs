//! Runs of one agent poll each other's tools: whatever those record is where it belongs, for whom it belongs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use async_openai::{Client as OpenAi, config::OpenAIConfig as Config};
use pandaprobe_core::{
    Client, Config as ClientConfig, MemoryExporter, Report, ReportKind, SpanData, SpanKind, TraceData, span,
    user,
};
use pandaprobe_openai::OpenAiHandler;
use pandaprobe_rig::{BuildTraced, RigHandler, Traced};
use pandaprobe_tests::provider::{Exchange, Provider};
use rig_agent::{
    Agent, AgentBuilder,
    agent::{NoToolConfig, WithBuilderTools},
    tool::{Tool, ToolContext},
};
use rig_core::{DynModel, operation::Completion, providers::openai::OpenAIConfig};
use serde::Deserialize;
use serde_json::{Value, json};

const USERS: usize = 50;
const RUNS: usize = 200;

/// Answers as the prompt wants: the first time with a call of each tool, then with a text. All that is said names the run.
fn provider() -> Provider {
    Provider::start_with(|request, _| {
        let request = request.json.as_ref().unwrap();
        let messages = request["messages"].as_array().unwrap();
        let is_text = |message: &&Value| message["role"] == "user";
        let who = text(&messages.iter().rev().find(is_text).unwrap()["content"]);
        let called = messages.iter().any(|message| message["role"] == "tool");
        let tools: Vec<&str> = request["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tool| tool["function"]["name"].as_str())
            .collect();
        if called || tools.is_empty() {
            return answer(json!({"role": "assistant", "content": format!("done {who}")}));
        }
        let calls: Vec<Value> = tools.iter().enumerate().map(|(at, tool)| {
            let arguments = json!({"who": who, "prompt": format!("sub {who}")}).to_string();
            json!({"id": format!("call_{at}"), "type": "function", "function": {"name": tool, "arguments": arguments}})
        }).collect();
        answer(json!({"role": "assistant", "content": null, "tool_calls": calls}))
    })
}

fn text(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    content.as_str().map_or_else(|| parts.collect(), str::to_owned)
}

fn answer(message: Value) -> Exchange {
    Exchange::json(
        200,
        json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}),
    )
}

fn model(provider: &Provider) -> DynModel<Completion> {
    let config = OpenAIConfig::new("key").with_base_url(format!("{}/v1", provider.url()));
    config.connect(rig::http_client::ReqwestClient::default()).chat("m").erase()
}

/// A tool that takes its time, asks a model by a wrapped client, and records a step.
#[derive(Clone)]
struct Work {
    openai: OpenAi<Config>,
}

#[derive(Deserialize)]
struct Arguments {
    who: String,
}

impl Tool for Work {
    const NAME: &'static str = "work";
    type Args = Arguments;
    type Output = String;
    type Error = async_openai::error::OpenAIError;

    fn description(&self) -> String {
        "Works.".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "properties": {"who": {"type": "string"}}})
    }

    async fn call(&self, _: &mut ToolContext, Arguments { who }: Arguments) -> Result<String, Self::Error> {
        pause(&who, 1).await;
        let request =
            json!({"model": "m", "messages": [{"role": "user", "content": format!("inner {who}")}]});
        let answer: Value = self.openai.chat().create_byot(request).await?;
        pause(&who, 2).await;
        span("audit").input(format!("audit {who}")).scope(pause(&who, 3)).await;
        Ok(format!("worked {who}: {}", answer["choices"][0]["message"]["content"]))
    }
}

/// A few milliseconds, each time others.
async fn pause(who: &str, nth: u8) {
    let mut hasher = DefaultHasher::new();
    (who, nth).hash(&mut hasher);
    tokio::time::sleep(Duration::from_millis(hasher.finish() % 9)).await;
}

struct Kept {
    client: Client,
    exporter: MemoryExporter,
    reports: Arc<std::sync::Mutex<Vec<Report>>>,
}

impl Kept {
    fn new() -> Self {
        let exporter = MemoryExporter::default();
        let reports: Arc<std::sync::Mutex<Vec<Report>>> = Arc::default();
        let heard = Arc::clone(&reports);
        let config = ClientConfig::new().exporter(exporter.clone());
        let config = config.on_error(move |report| heard.lock().unwrap().push(report.clone()));
        Self { client: Client::new(config).unwrap(), exporter, reports }
    }

    fn traces(self) -> (Vec<TraceData>, Vec<Report>) {
        self.client.flush(Duration::from_secs(30)).unwrap();
        self.client.shutdown(Duration::from_secs(30)).unwrap();
        let stats = self.client.stats();
        assert_eq!((stats.dropped_total(), stats.open), (0, 0));
        (self.exporter.traces(), self.reports.lock().unwrap().clone())
    }
}

type Build<'a> = &'a dyn Fn(AgentBuilder<WithBuilderTools>) -> Agent;

/// An agent with a tool and an agent as a tool.
fn agents(provider: &Provider, client: &Client, helper: Build<'_>, boss: Build<'_>) -> Agent {
    let openai = Config::new().with_api_key("key").with_api_base(format!("{}/v1", provider.url()));
    let openai = OpenAiHandler::new().client(client.clone()).wrap(OpenAi::with_config(openai));
    let builder = || {
        AgentBuilder::<NoToolConfig>::new(model(provider))
            .default_max_turns(3)
            .tool(Work { openai: openai.clone() })
    };
    let helper = helper(builder().name("helper"));
    boss(builder().name("boss").dynamic_tool(helper.into_tool().unwrap()))
}

/// Runs them all at once: half of the users by a scope, half by the handler.
async fn run_all(agent: &Agent, handler: &RigHandler) {
    let runs = (0..RUNS).map(|run| {
        let (agent, handler) = (agent.clone(), handler.clone());
        let who = format!("user-{} run-{run}.", run % USERS);
        let id = format!("user-{}", run % USERS);
        tokio::spawn(async move {
            let runner = agent.prompt(who.as_str()).tool_concurrency(4);
            let answer = match run % 2 {
                0 => user(id).session(format!("session-{run}")).scope(runner.traced(&handler)).await,
                _ => runner.traced(&handler.clone().user_id(id).session_id(format!("session-{run}"))).await,
            };
            assert_eq!(answer.unwrap().output(), format!("done {who}"));
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
}

/// The runs that a span tells of, as `user-7 run-57.`.
fn told(span: &SpanData) -> HashSet<String> {
    let text = format!("{} {}", json!(span.input), json!(span.output));
    let mut told = HashSet::new();
    for (at, _) in text.match_indices("user-") {
        let rest = &text[at..];
        told.insert(rest[..rest.find('.').unwrap_or(rest.len())].to_owned());
    }
    told
}

/// `AGENT boss > TOOL work > LLM openai-chat`, from the root to the span.
fn path(trace: &TraceData, span: &SpanData) -> String {
    let step = format!("{:?} {}", span.kind, span.name);
    match span.parent_span_id {
        Some(id) => {
            let parent =
                trace.spans.iter().find(|span| span.span_id == id).expect("its parent is in its trace");
            format!("{} > {step}", path(trace, parent))
        }
        None => step,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_runs_of_fifty_users_stay_apart() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let build: Build<'_> = &|builder| builder.build_traced(&handler);
    let agent = agents(&provider, &kept.client, build, build);
    run_all(&agent, &handler).await;
    let (traces, reports) = kept.traces();
    assert_eq!(reports.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(traces.len(), RUNS);

    let helper = "Agent boss > Tool helper > Agent helper";
    let expected: BTreeMap<String, usize> = [
        ("Agent boss".to_owned(), 1),
        ("Agent boss > Llm chat".to_owned(), 2),
        ("Agent boss > Tool work".to_owned(), 1),
        ("Agent boss > Tool work > Llm openai-chat".to_owned(), 1),
        ("Agent boss > Tool work > Other audit".to_owned(), 1),
        ("Agent boss > Tool helper".to_owned(), 1),
        (helper.to_owned(), 1),
        (format!("{helper} > Llm chat"), 2),
        (format!("{helper} > Tool work"), 1),
        (format!("{helper} > Tool work > Llm openai-chat"), 1),
        (format!("{helper} > Tool work > Other audit"), 1),
    ]
    .into();
    let mut users: HashMap<String, usize> = HashMap::new();
    for trace in &traces {
        let user = trace.user_id.clone().unwrap();
        *users.entry(user.clone()).or_default() += 1;
        let run = text(&trace.input.as_ref().unwrap()["messages"][0]["content"]);
        assert!(run.starts_with(&format!("{user} ")), "{run} is recorded for {user}");
        let number = run.split("run-").nth(1).unwrap().trim_end_matches('.');
        assert_eq!(trace.session_id, Some(format!("session-{number}")));
        let mut paths = BTreeMap::new();
        for span in &trace.spans {
            *paths.entry(path(trace, span)).or_default() += 1;
            assert_eq!(told(span), HashSet::from([run.trim_end_matches('.').to_owned()]), "{span:?}");
        }
        assert_eq!(paths, expected, "of {run}");
    }
    assert_eq!(users.len(), USERS);
    assert!(users.values().all(|runs| *runs == RUNS / USERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_unwrapped_tools_record_is_under_no_wrong_user() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let build: Build<'_> = &|builder| builder.add_hook(handler.clone()).build();
    let agent = agents(&provider, &kept.client, build, build);
    run_all(&agent, &handler).await;
    let (traces, reports) = kept.traces();

    let mut inner = 0;
    for trace in &traces {
        let told: HashSet<String> = trace.spans.iter().flat_map(told).collect();
        assert_eq!(told.len(), 1, "a trace is of one run: {told:?}");
        let run = told.into_iter().next().unwrap();
        match trace.user_id.as_deref() {
            Some(user) => assert!(run.starts_with(&format!("{user} ")), "{run} is recorded for {user}"),
            None => inner += 1,
        }
        match trace.name.as_str() {
            "boss" => {
                let root = trace.spans.iter().find(|span| span.kind == SpanKind::Agent).unwrap();
                assert_eq!(root.metadata["pandaprobe.unwrapped_tools"], json!(["helper", "work"]));
                assert!(trace.user_id.is_some());
            }
            _ => {
                assert_eq!((&trace.user_id, &trace.session_id), (&None, &None), "{}", trace.name);
                assert!(trace.metadata.contains_key("pandaprobe.withheld"));
            }
        }
    }
    // The nested agent, and the wrapped client in both tools, each in a trace of its own.
    assert_eq!((traces.len(), inner), (4 * RUNS, 3 * RUNS));
    let withheld = reports.iter().filter(|report| report.kind == ReportKind::IdentityWithheld).count();
    assert_eq!(withheld, 3 * RUNS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn agents_that_share_their_tools_find_their_own_calls() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let openai = Config::new().with_api_key("key").with_api_base(format!("{}/v1", provider.url()));
    let openai = OpenAiHandler::new().client(kept.client.clone()).wrap(OpenAi::with_config(openai));
    let tools = rig_agent::tool::server::ToolServer::new().tool(Work { openai }).run();
    // One agent for each request, as services do: all count their calls from one.
    let runs = (0..RUNS).map(|run| {
        let (model, tools) = (model(&provider), tools.clone());
        let handler = handler.clone().user_id(format!("user-{}", run % USERS));
        tokio::spawn(async move {
            let agent = AgentBuilder::new(model)
                .tool_server_handle(tools)
                .default_max_turns(3)
                .build_traced(&handler);
            agent.prompt(format!("user-{} run-{run}.", run % USERS)).await.unwrap();
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    let (traces, reports) = kept.traces();
    assert!(reports.is_empty(), "{reports:?}");
    assert_eq!(traces.len(), RUNS);
    for trace in &traces {
        let told: HashSet<String> = trace.spans.iter().flat_map(told).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told.iter().next().unwrap().starts_with(&format!("{} ", trace.user_id.as_ref().unwrap())));
        assert_eq!(trace.spans.len(), 6);
    }
    // Wrapped once, however many agents share it.
    let layers = tools.toolset().get("work").unwrap().handler().descriptor().layers;
    assert_eq!(layers, ["pandaprobe"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instrumented_agent_records_its_runs_and_isolates_all_others() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let helper: Build<'_> = &|builder| builder.build_traced(&handler);
    let plain = agents(&provider, &kept.client, helper, &|builder| builder.build());
    let agent = handler.instrument(&plain);
    let runs = (0..40).map(|run| {
        let (agent, plain) = (agent.clone(), plain.clone());
        let who = format!("user-{run} run-{run}.");
        tokio::spawn(async move {
            // Every other one asks the agent itself, without a hook.
            let runner = if run % 2 == 0 { agent.prompt(who.as_str()) } else { plain.prompt(who.as_str()) };
            user(format!("user-{run}")).scope(runner.tool_concurrency(2)).await.unwrap();
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    let (traces, _) = kept.traces();
    assert_eq!(traces.iter().filter(|trace| trace.name == "boss").count(), 20);
    for trace in &traces {
        let told: HashSet<String> = trace.spans.iter().flat_map(told).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        if let Some(user) = &trace.user_id {
            assert!(
                told.iter().next().unwrap().starts_with(&format!("{user} ")),
                "{told:?} is recorded for {user}"
            );
        }
        assert_eq!(trace.user_id.is_some(), trace.name == "boss", "{}", trace.name);
        assert_eq!(
            trace.spans.len(),
            match trace.name.as_str() {
                "boss" => 13,
                "helper" => 6,
                _ => 1,
            }
        );
    }
}
