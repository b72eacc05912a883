//! A chat model of langgraph that asks an OpenAI-compatible server.

use async_openai::{Client, config::OpenAIConfig};
use async_trait::async_trait;
use langgraph::{
    prebuilt::{BaseChatModel, LlmUsage, Message, ModelError, ToolCall, ToolDef},
    prelude::RunnableConfig,
};
use serde_json::{Value, json};
use stand_in_model::Endpoint;
use tokio::{runtime::Handle, task::block_in_place};

#[derive(Clone)]
pub(crate) struct OpenAi {
    client: Client<OpenAIConfig>,
    model: String,
    tools: Vec<Value>,
}

impl OpenAi {
    pub(crate) fn at(endpoint: &Endpoint) -> Self {
        let config = OpenAIConfig::new()
            .with_api_base(endpoint.base_url.as_str())
            .with_api_key(endpoint.api_key.as_str());
        Self { client: Client::with_config(config), model: endpoint.model.clone(), tools: Vec::new() }
    }
}

#[async_trait]
impl BaseChatModel for OpenAi {
    fn name(&self) -> &str {
        &self.model
    }

    fn invoke(&self, messages: &[Message], config: &RunnableConfig) -> Result<Message, ModelError> {
        block_in_place(|| Handle::current().block_on(self.ainvoke(messages, config)))
    }

    async fn ainvoke(&self, messages: &[Message], _: &RunnableConfig) -> Result<Message, ModelError> {
        let messages: Vec<Value> = messages.iter().filter_map(asked).collect();
        let mut request = json!({"model": self.model, "messages": messages});
        if !self.tools.is_empty() {
            request["tools"] = json!(self.tools);
        }
        let answer: Result<Value, _> = self.client.chat().create_byot(request).await;
        answered(&answer.map_err(|error| ModelError::Invocation(error.to_string()))?)
    }

    fn bind_tools(&self, tools: Vec<ToolDef>) -> Box<dyn BaseChatModel> {
        let tools = tools.into_iter().map(|tool| json!({"type": "function", "function": tool})).collect();
        Box::new(Self { tools, ..self.clone() })
    }
}

/// A message as the server wants it.
fn asked(message: &Message) -> Option<Value> {
    let content = message.text();
    Some(match message {
        Message::System { .. } => json!({"role": "system", "content": content}),
        Message::Human { .. } => json!({"role": "user", "content": content}),
        Message::Tool { tool_call_id, .. } => {
            json!({"role": "tool", "tool_call_id": tool_call_id, "content": content})
        }
        Message::Ai { tool_calls, .. } if tool_calls.is_empty() => {
            json!({"role": "assistant", "content": content})
        }
        Message::Ai { tool_calls, .. } => {
            let calls = tool_calls.iter().map(|call| {
                let function = json!({"name": call.name, "arguments": call.args.to_string()});
                json!({"id": call.id, "type": "function", "function": function})
            });
            json!({"role": "assistant", "content": content, "tool_calls": calls.collect::<Vec<_>>()})
        }
        Message::Remove { .. } => return None,
    })
}

fn answered(answer: &Value) -> Result<Message, ModelError> {
    let said = &answer["choices"][0]["message"];
    let calls = said["tool_calls"].as_array().into_iter().flatten().map(|call| {
        let arguments = call["function"]["arguments"].as_str().unwrap_or("{}");
        Ok(ToolCall {
            name: call["function"]["name"].as_str().unwrap_or_default().to_owned(),
            args: serde_json::from_str(arguments)
                .map_err(|error| ModelError::Invocation(error.to_string()))?,
            id: call["id"].as_str().map(str::to_owned),
        })
    });
    let calls = calls.collect::<Result<Vec<_>, ModelError>>()?;
    let tokens =
        |name: &str| answer["usage"][name].as_u64().and_then(|tokens| tokens.try_into().ok()).unwrap_or(0);
    let usage = LlmUsage {
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
        total_tokens: tokens("total_tokens"),
        ..LlmUsage::default()
    };
    Ok(Message::ai_with_tool_calls_and_usage(said["content"].as_str().unwrap_or_default(), calls, usage))
}
