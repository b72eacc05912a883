//! Chat models.

use std::sync::Arc;

use async_trait::async_trait;
use langgraph::{
    checkpoint::config::RunnableConfig,
    prebuilt::{BaseChatModel, LlmUsage, Message, MessageStream, ModelError, ToolDef},
};
use pandaprobe_core::{Handler, Messages, Run, Span, SpanKind, TokenUsage};
use serde_json::{Value, json};

use super::{node::tell, told};
use crate::{
    LangGraphHandler, messages,
    step::{Step, StepEnd},
    watch::{StreamEnd, Watch, WatchedStream},
};

type Said = Result<Message, ModelError>;

impl LangGraphHandler {
    /// The same model, with each call of it traced: an LLM span with the messages, the answer, its tokens and its reasoning,
    /// below the node that calls it. Of a stream, the time of the first token too.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use langgraph::prebuilt::{BaseChatModel, ReActAgent, create_react_agent};
    /// use pandaprobe_langgraph::LangGraphHandler;
    ///
    /// # fn example(model: Arc<dyn BaseChatModel>) -> Result<ReActAgent, Box<dyn std::error::Error>> {
    /// let handler = LangGraphHandler::new();
    /// let agent = create_react_agent(handler.model(model), vec![], None)?;
    /// # Ok(agent) }
    /// ```
    pub fn model(&self, model: Arc<dyn BaseChatModel>) -> Arc<dyn BaseChatModel> {
        Arc::new(TracedModel { model: Shared::Arc(model), handler: self.handler.clone(), tools: None })
    }
}

struct TracedModel {
    model: Shared,
    handler: Handler,
    /// The tools that the model was given.
    tools: Option<Value>,
}

/// A model, as it was given or as it came from `bind_tools`.
enum Shared {
    Arc(Arc<dyn BaseChatModel>),
    Box(Box<dyn BaseChatModel>),
}

impl Shared {
    fn get(&self) -> &dyn BaseChatModel {
        match self {
            Self::Arc(model) => model.as_ref(),
            Self::Box(model) => model.as_ref(),
        }
    }
}

impl TracedModel {
    fn started(&self, messages: &[Message], config: &RunnableConfig) -> Option<Step> {
        let name = self.model.get().name();
        let call = (name, messages.as_ptr().addr());
        Step::start(&self.handler, told::place(config), call, || {
            let input: Messages = messages.iter().filter_map(normal).collect();
            let run = Run::new(name, SpanKind::Llm).model(name).input(input);
            match &self.tools {
                Some(tools) => run.metadata("tools", tools.clone()),
                None => run,
            }
        })
    }
}

#[async_trait]
impl BaseChatModel for TracedModel {
    fn name(&self) -> &str {
        self.model.get().name()
    }

    fn invoke(&self, messages: &[Message], config: &RunnableConfig) -> Said {
        let step = self.started(messages, config);
        let (_token, told) = tell(step.as_ref(), config);
        let config = told.as_ref().unwrap_or(config);
        Step::run(step, || self.model.get().invoke(messages, config), answered)
    }

    async fn ainvoke(&self, messages: &[Message], config: &RunnableConfig) -> Said {
        let inner = |step: Option<&Step>| {
            let (token, told) = tell(step, config);
            async move {
                let _token = token;
                self.model.get().ainvoke(messages, told.as_ref().unwrap_or(config)).await
            }
        };
        Step::record(self.started(messages, config), inner, answered).await
    }

    fn astream<'a>(&'a self, messages: &'a [Message], config: &'a RunnableConfig) -> MessageStream<'a> {
        let Some(step) = self.started(messages, config) else {
            return self.model.get().astream(messages, config);
        };
        let stream =
            step.inside(|span| span.scope_stream(span.run(|| self.model.get().astream(messages, config))));
        Box::pin(WatchedStream::new(stream, ModelWatch { step, last: None }))
    }

    fn bind_tools(&self, tools: Vec<ToolDef>) -> Box<dyn BaseChatModel> {
        Box::new(Self {
            tools: serde_json::to_value(&tools).ok().filter(|_| !tools.is_empty()),
            model: Shared::Box(self.model.get().bind_tools(tools)),
            handler: self.handler.clone(),
        })
    }
}

/// Each item of a stream is all that was said until then.
struct ModelWatch {
    step: Step,
    last: Option<Result<Message, String>>,
}

impl Watch<Said> for ModelWatch {
    fn item(&mut self, item: &Said) {
        if let Ok(message) = item
            && (message.text().is_some_and(|text| !text.is_empty())
                || message.has_tool_calls()
                || message.thinking().is_some())
        {
            self.step.span().set_first_token();
        }
        self.last = Some(match item {
            Ok(message) => Ok(message.clone()),
            Err(error) => Err(error.to_string()),
        });
    }

    fn end(self, how: StreamEnd) {
        let end = match &self.last {
            Some(Ok(message)) => Some(said(self.step.span(), message)),
            Some(Err(error)) => Some(StepEnd::Failed(error.clone())),
            None => None,
        };
        match (end, how) {
            (Some(StepEnd::Done(output)), StreamEnd::Left) => {
                self.step.span().set_output(output);
                self.step.end_of_stream(None, StreamEnd::Left);
            }
            (end, how) => self.step.end_of_stream(end, how),
        }
    }
}

fn answered(span: &Span, result: &Said) -> StepEnd {
    match result {
        Ok(message) => said(span, message),
        Err(error) => StepEnd::Failed(error.to_string()),
    }
}

/// Writes what a message says beside itself, and gives the message.
fn said(span: &Span, message: &Message) -> StepEnd {
    if let Some(usage) = message.usage() {
        span.set_token_usage(tokens(usage));
    }
    if let Some(thinking) = message.thinking() {
        span.set_metadata("reasoning_summary", thinking);
    }
    StepEnd::Done(json!({"messages": normal(message).into_iter().collect::<Vec<_>>()}))
}

fn tokens(usage: &LlmUsage) -> TokenUsage {
    let mut tokens = TokenUsage::new(usage.prompt_tokens.into(), usage.completion_tokens.into());
    tokens.cache_read_tokens = usage.cache_read_tokens.map(Into::into);
    tokens.cache_creation_tokens = usage.cache_creation_tokens.map(Into::into);
    tokens
}

/// A message in the common shape; what it says beside itself has places of its own.
fn normal(message: &Message) -> Option<Value> {
    let mut value = serde_json::to_value(message).ok()?;
    if let Value::Object(fields) = &mut value {
        fields.remove("usage");
        fields.remove("thinking");
    }
    messages::normalise(&mut value);
    Some(value)
}
