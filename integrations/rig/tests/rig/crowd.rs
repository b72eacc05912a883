//! Many runs at once, of tools that ask models and agents, and record steps.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use async_openai::{Client as OpenAi, config::OpenAIConfig as Config};
use pandaprobe_core::{Client, Config as ClientConfig, MemoryExporter, Report, SpanData, TraceData, span};
use pandaprobe_openai::OpenAiHandler;
use pandaprobe_tests::provider::{Exchange, Provider};
use rig_agent::{
    AgentBuilder,
    agent::{NoToolConfig, WithBuilderTools},
    tool::{DynamicTool, Tool, ToolContext},
};
use rig_core::{DynModel, operation::Completion, providers::openai::OpenAIConfig};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const USERS: usize = 50;
pub(crate) const RUNS: usize = 200;

/// Answers as the prompt wants: the first time with a call of each tool, then with a text. All that is said names the run.
pub(crate) fn provider() -> Provider {
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

pub(crate) fn text(content: &Value) -> String {
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

pub(crate) fn model(provider: &Provider) -> DynModel<Completion> {
    let config = OpenAIConfig::new("key").with_base_url(format!("{}/v1", provider.url()));
    config.connect(rig::http_client::ReqwestClient::default()).chat("m").erase()
}

/// A tool that takes its time, asks a model by a wrapped client, and records a step.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) openai: OpenAi<Config>,
}

#[derive(Deserialize)]
pub(crate) struct Arguments {
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

pub(crate) struct Kept {
    pub(crate) client: Client,
    exporter: MemoryExporter,
    reports: Arc<std::sync::Mutex<Vec<Report>>>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let exporter = MemoryExporter::default();
        let reports: Arc<std::sync::Mutex<Vec<Report>>> = Arc::default();
        let heard = Arc::clone(&reports);
        let config = ClientConfig::new().exporter(exporter.clone());
        let config = config.on_error(move |report| heard.lock().unwrap().push(report.clone()));
        Self { client: Client::new(config).unwrap(), exporter, reports }
    }

    pub(crate) fn traces(self) -> (Vec<TraceData>, Vec<Report>) {
        self.client.flush(Duration::from_secs(30)).unwrap();
        self.client.shutdown(Duration::from_secs(30)).unwrap();
        let stats = self.client.stats();
        assert_eq!((stats.dropped_total(), stats.open), (0, 0));
        (self.exporter.traces(), self.reports.lock().unwrap().clone())
    }
}

pub(crate) type Builder = AgentBuilder<WithBuilderTools>;

/// An agent with a tool and an agent as a tool.
pub(crate) fn agents<A>(
    provider: &Provider,
    client: &Client,
    helper: impl Fn(Builder) -> DynamicTool,
    boss: impl Fn(Builder) -> A,
) -> A {
    let openai = Config::new().with_api_key("key").with_api_base(format!("{}/v1", provider.url()));
    let openai = OpenAiHandler::new().client(client.clone()).wrap(OpenAi::with_config(openai));
    let builder = || {
        let work = Work { openai: openai.clone() };
        AgentBuilder::<NoToolConfig>::new(model(provider)).default_max_turns(3).tool(work)
    };
    boss(builder().name("boss").dynamic_tool(helper(builder().name("helper"))))
}

/// The runs that a span tells of, as `user-7 run-57.`.
pub(crate) fn told(span: &SpanData) -> HashSet<String> {
    let text = format!("{} {}", json!(span.input), json!(span.output));
    let mut told = HashSet::new();
    for (at, _) in text.match_indices("user-") {
        let rest = &text[at..];
        told.insert(rest[..rest.find('.').unwrap_or(rest.len())].to_owned());
    }
    told
}

/// Nothing under a wrong user, and nothing in a trace with something else.
pub(crate) fn check_users(traces: &[TraceData]) {
    for trace in traces {
        let told: HashSet<String> = trace.spans.iter().flat_map(told).collect();
        assert_eq!(told.len(), 1, "a trace is of one run: {told:?}");
        let run = told.into_iter().next().unwrap();
        if let Some(user) = trace.user_id.as_deref() {
            assert!(run.starts_with(&format!("{user} ")), "{run} is recorded for {user}");
        }
    }
}
