//! What the tests share: a scripted model, tools, and runners.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use adk_agent::{LlmAgent, LlmAgentBuilder};
use adk_core::{
    AdkError, Agent, Content, Event, EventStream, InvocationContext, Llm, LlmRequest, LlmResponse,
    LlmResponseStream, Part, Result, Tool, ToolContext, UsageMetadata,
};
use adk_runner::Runner;
use adk_session::{CreateRequest, InMemorySessionService, SessionService};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use pandaprobe_adk::{AdkHandler, TracedRunner};
use serde_json::{Value, json};

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Say(Box<LlmResponse>),
    Fail(&'static str),
    /// Nothing more comes.
    Hang,
}

type Script = dyn Fn(usize, &LlmRequest) -> Vec<Piece> + Send + Sync;

/// A model that answers as it is told: by the number of the call, and the request.
pub(crate) struct Scripted {
    name: String,
    calls: AtomicUsize,
    script: Box<Script>,
}

impl Scripted {
    pub(crate) fn new(
        name: &str,
        script: impl Fn(usize, &LlmRequest) -> Vec<Piece> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), calls: AtomicUsize::new(0), script: Box::new(script) })
    }

    /// Answers the n-th call with the n-th answer, and then with the last one again.
    pub(crate) fn turns<const N: usize>(name: &str, turns: [Vec<Piece>; N]) -> Arc<Self> {
        Self::new(name, move |nth, _| turns[nth.min(N - 1)].clone())
    }
}

#[async_trait]
impl Llm for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    async fn generate_content(&self, request: LlmRequest, _: bool) -> Result<LlmResponseStream> {
        tokio::task::yield_now().await;
        let nth = self.calls.fetch_add(1, Ordering::SeqCst);
        let pieces = (self.script)(nth, &request);
        if let [Piece::Fail(error)] = pieces.as_slice() {
            return Err(AdkError::model(*error));
        }
        Ok(Box::pin(stream::iter(pieces).then(|piece| async {
            tokio::task::yield_now().await;
            match piece {
                Piece::Say(response) => Ok(*response),
                Piece::Fail(error) => Err(AdkError::model(error)),
                Piece::Hang => std::future::pending().await,
            }
        })))
    }
}

pub(crate) fn usage(prompt: i32, answer: i32) -> UsageMetadata {
    UsageMetadata {
        prompt_token_count: prompt,
        candidates_token_count: answer,
        total_token_count: prompt + answer,
        ..UsageMetadata::default()
    }
}

/// A whole answer.
pub(crate) fn answer(parts: Vec<Part>) -> Piece {
    let content = Content { role: "model".to_owned(), parts };
    Piece::Say(Box::new(LlmResponse { usage_metadata: Some(usage(20, 5)), ..LlmResponse::new(content) }))
}

pub(crate) fn text(text: &str) -> Part {
    Part::Text { text: text.to_owned() }
}

pub(crate) fn say(words: &str) -> Vec<Piece> {
    vec![answer(vec![text(words)])]
}

pub(crate) fn call(tool: &str, arguments: Value) -> Part {
    let id = Some(format!("call-{tool}"));
    Part::FunctionCall { name: tool.to_owned(), args: arguments, id, thought_signature: None }
}

/// A piece of an answer that goes on.
pub(crate) fn partial(parts: Vec<Part>) -> Piece {
    let content = Some(Content { role: "model".to_owned(), parts });
    Piece::Say(Box::new(LlmResponse { content, partial: true, ..LlmResponse::default() }))
}

/// The end of an answer that came in pieces.
pub(crate) fn end() -> Piece {
    let whole = LlmResponse::new(Content::new("model"));
    Piece::Say(Box::new(LlmResponse { content: None, usage_metadata: Some(usage(20, 5)), ..whole }))
}

type Work = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

/// A tool that is a function.
pub(crate) struct FnTool {
    name: String,
    work: Box<dyn Fn(Arc<dyn ToolContext>, Value) -> Work + Send + Sync>,
}

pub(crate) fn tool<F, W>(name: &str, work: F) -> Arc<FnTool>
where
    F: Fn(Arc<dyn ToolContext>, Value) -> W + Send + Sync + 'static,
    W: Future<Output = Result<Value>> + Send + 'static,
{
    let work = move |ctx, arguments| -> Work { Box::pin(work(ctx, arguments)) };
    Arc::new(FnTool { name: name.to_owned(), work: Box::new(work) })
}

#[async_trait]
impl Tool for FnTool {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        "Does what a test wants."
    }

    async fn execute(&self, ctx: Arc<dyn ToolContext>, arguments: Value) -> Result<Value> {
        (self.work)(ctx, arguments).await
    }
}

/// Says the weather, and records a step.
pub(crate) fn weather() -> Arc<FnTool> {
    tool("get_weather", |_, arguments| async move {
        pandaprobe_core::span("station").scope(tokio::task::yield_now()).await;
        Ok(json!({"city": arguments["city"], "sky": "sunny"}))
    })
}

/// An agent with a wrapped model.
pub(crate) fn agent(handler: &AdkHandler, name: &str, model: Arc<Scripted>) -> LlmAgentBuilder {
    LlmAgentBuilder::new(name).model(handler.llm(model))
}

pub(crate) fn build(handler: &AdkHandler, agent: LlmAgentBuilder) -> Arc<dyn Agent> {
    let agent: LlmAgent = agent.build().unwrap();
    handler.agent(Arc::new(agent))
}

/// A runner of the app `trips` that knows a session of each of the users, named after them.
pub(crate) async fn plain_runner(agent: Arc<dyn Agent>, users: &[&str]) -> Runner {
    let sessions = Arc::new(InMemorySessionService::new());
    for user in users {
        let session = CreateRequest {
            app_name: "trips".to_owned(),
            user_id: (*user).to_owned(),
            session_id: Some(format!("session-of-{user}")),
            state: HashMap::new(),
        };
        sessions.create(session).await.unwrap();
    }
    Runner::builder().app_name("trips").agent(agent).session_service(sessions).build().unwrap()
}

pub(crate) async fn runner(handler: &AdkHandler, agent: Arc<dyn Agent>) -> TracedRunner {
    handler.runner(plain_runner(agent, &["ada", "grace"]).await)
}

pub(crate) fn question(words: &str) -> Content {
    Content::new("user").with_text(words)
}

pub(crate) async fn start(runner: &TracedRunner, user: &str, words: &str) -> EventStream {
    runner.run_str(user, &format!("session-of-{user}"), question(words)).await.unwrap()
}

/// All events of a run.
pub(crate) async fn ask(runner: &TracedRunner, user: &str, words: &str) -> Vec<Result<Event>> {
    start(runner, user, words).await.collect().await
}

pub(crate) fn messages(role: &str, content: &str) -> Value {
    json!({"messages": [{"role": role, "content": content}]})
}

/// What a runner would give to an agent, with an id that is always the same.
pub(crate) async fn invocation(agent: Arc<dyn Agent>) -> Arc<dyn InvocationContext> {
    let session = CreateRequest {
        app_name: "trips".to_owned(),
        user_id: "someone".to_owned(),
        session_id: Some("s".to_owned()),
        state: HashMap::new(),
    };
    let session = InMemorySessionService::new().create(session).await.unwrap();
    let [id, user, app, of] = ["inv-1", "someone", "trips", "s"].map(str::to_owned);
    let words = question("Hello!");
    Arc::new(adk_runner::InvocationContext::new(id, agent, user, app, of, words, Arc::from(session)).unwrap())
}
