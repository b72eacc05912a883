//! Mistral, whose chat is OpenAI's. So are those of Groq, DeepSeek, xAI, OpenRouter, Azure, llama.cpp, vLLM and others, and
//! the compatible endpoints of Gemini (`/v1beta/openai`), Anthropic (`/v1`) and Ollama (`/v1`).

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{ChatCompletionRequestUserMessage, CreateChatCompletionRequestArgs},
};
use pandaprobe::OpenAiHandler;

use crate::{BoxError, Server};

/// Asks a model of Mistral.
///
/// # Errors
///
/// If the request fails or is refused.
pub async fn ask(server: &Server, handler: OpenAiHandler, question: &str) -> Result<String, BoxError> {
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", server.url)).with_api_key(&server.key);
    let client = handler.wrap(Client::with_config(config));
    let request = CreateChatCompletionRequestArgs::default()
        .model("mistral-small-latest")
        .messages([ChatCompletionRequestUserMessage::from(question).into()])
        .build()?;
    let answer = client.chat().create(request).await?;
    Ok(answer.choices.into_iter().find_map(|choice| choice.message.content).unwrap_or_default())
}
