//! The agent: asks the model, runs the tools that it wants, asks again.

use std::{
    collections::BTreeMap,
    io::{Write, stdout},
};

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    types::chat::{
        ChatCompletionMessageToolCall, ChatCompletionMessageToolCallChunk,
        ChatCompletionRequestAssistantMessageArgs, ChatCompletionRequestMessage,
        ChatCompletionRequestSystemMessage, ChatCompletionRequestToolMessage,
        ChatCompletionRequestUserMessage, ChatCompletionStreamOptions, ChatCompletionToolChoiceOption,
        CreateChatCompletionRequest, CreateChatCompletionRequestArgs, ToolChoiceOptions,
    },
};
use futures_util::StreamExt;

use crate::tools;

const SYSTEM: &str = "You are a travel assistant. Use the tools for facts. Answer in two sentences at most.";
/// How often the model may be asked in one turn. The last time it has to answer without tools.
const MAX_CALLS: usize = 4;
const MAX_TOKENS: u32 = 256;

/// A conversation with a model that may use tools.
pub(crate) struct Agent {
    client: Client<OpenAIConfig>,
    model: String,
    messages: Vec<ChatCompletionRequestMessage>,
}

/// What the model said: text, tool calls, or both.
#[derive(Default)]
struct Reply {
    text: String,
    tool_calls: Vec<ChatCompletionMessageToolCall>,
}

impl Agent {
    pub(crate) fn new(client: Client<OpenAIConfig>, model: String) -> Self {
        let system = ChatCompletionRequestSystemMessage::from(SYSTEM);
        Self { client, model, messages: vec![system.into()] }
    }

    /// One turn: the answer to `question`, which was printed as it arrived.
    pub(crate) async fn ask(&mut self, question: &str) -> Result<String, OpenAIError> {
        self.messages.push(ChatCompletionRequestUserMessage::from(question).into());
        for _ in 1..MAX_CALLS {
            let reply = self.call(ToolChoiceOptions::Auto).await?;
            if reply.tool_calls.is_empty() {
                return self.answered(reply);
            }
            self.run_tools(reply)?;
        }
        let reply = self.call(ToolChoiceOptions::None).await?;
        self.answered(reply)
    }

    /// Asks the model once and prints its text as it arrives.
    async fn call(&self, tool_choice: ToolChoiceOptions) -> Result<Reply, OpenAIError> {
        let mut chunks = self.client.chat().create_stream(self.request(tool_choice)?).await?;
        let mut reply = Reply::default();
        let mut calls = BTreeMap::new();
        print!("agent: ");
        while let Some(chunk) = chunks.next().await {
            // The chunk with the usage has no choice.
            let Some(choice) = chunk?.choices.into_iter().next() else {
                continue;
            };
            if let Some(text) = choice.delta.content {
                print!("{text}");
                let _ = stdout().flush();
                reply.text += &text;
            }
            for piece in choice.delta.tool_calls.unwrap_or_default() {
                merge(&mut calls, piece);
            }
        }
        reply.tool_calls = calls.into_values().collect();
        for call in &reply.tool_calls {
            print!("[{} {}] ", call.function.name, call.function.arguments);
        }
        println!();
        Ok(reply)
    }

    fn request(&self, tool_choice: ToolChoiceOptions) -> Result<CreateChatCompletionRequest, OpenAIError> {
        CreateChatCompletionRequestArgs::default()
            .model(&self.model)
            .messages(self.messages.as_slice())
            .tools(tools::offered())
            .tool_choice(ChatCompletionToolChoiceOption::Mode(tool_choice))
            .max_completion_tokens(MAX_TOKENS)
            .stream(true)
            // Without this a streamed answer does not say how many tokens it took.
            .stream_options(ChatCompletionStreamOptions {
                include_usage: Some(true),
                include_obfuscation: None,
            })
            .build()
    }

    fn run_tools(&mut self, reply: Reply) -> Result<(), OpenAIError> {
        let calls = reply.tool_calls.clone();
        let mut message = ChatCompletionRequestAssistantMessageArgs::default();
        if !reply.text.is_empty() {
            message.content(reply.text);
        }
        let calls_made: Vec<_> = reply.tool_calls.into_iter().map(Into::into).collect();
        self.messages.push(message.tool_calls(calls_made).build()?.into());
        for call in calls {
            let result = tools::run(&call.function.name, &call.function.arguments);
            let message = ChatCompletionRequestToolMessage { content: result.into(), tool_call_id: call.id };
            self.messages.push(message.into());
        }
        Ok(())
    }

    fn answered(&mut self, reply: Reply) -> Result<String, OpenAIError> {
        let message =
            ChatCompletionRequestAssistantMessageArgs::default().content(reply.text.clone()).build()?;
        self.messages.push(message.into());
        Ok(reply.text)
    }
}

/// A streamed tool call arrives in pieces: the first one names it, the others carry its arguments.
fn merge(
    calls: &mut BTreeMap<u32, ChatCompletionMessageToolCall>,
    piece: ChatCompletionMessageToolCallChunk,
) {
    let call = calls.entry(piece.index).or_default();
    if let Some(id) = piece.id {
        call.id = id;
    }
    if let Some(function) = piece.function {
        call.function.name += &function.name.unwrap_or_default();
        call.function.arguments += &function.arguments.unwrap_or_default();
    }
}
