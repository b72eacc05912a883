//! Two streamed answers: one read to its end, one whose reader leaves early.
//!
//! A stream is read as ever. Its span ends when the stream does, or when whoever reads it drops it.
#![expect(clippy::print_stdout, reason = "the answers are what this program is for")]

use std::{
    error::Error,
    io::{Write, stdout},
    time::Duration,
};

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    types::chat::{
        ChatCompletionRequestUserMessage, ChatCompletionResponseStream, ChatCompletionStreamOptions,
        CreateChatCompletionRequestArgs, CreateChatCompletionStreamResponse,
    },
};
use futures_util::{Stream, StreamExt, TryStreamExt, future};
use pandaprobe::{Config, ConsoleExporter, OpenAiHandler};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();
    let endpoint = stand_in_model::endpoint();
    let config = OpenAIConfig::new().with_api_base(&endpoint.base_url).with_api_key(&endpoint.api_key);
    let client = OpenAiHandler::new().wrap(Client::with_config(config));
    pandaprobe::session("packing").user("ada").scope(read_both(&client, &endpoint.model)).await
}

async fn read_both(client: &Client<OpenAIConfig>, model: &str) -> Result<(), Box<dyn Error>> {
    println!("Read to its end:");
    let stream = ask(client, model, "What should I know before I travel to Lisbon?").await?;
    print_all(stream).await?;
    // So that the tree is printed here and not later.
    let _ = pandaprobe::flush_async(Duration::from_secs(2)).await;

    println!("\nLeft after three pieces:");
    let stream = ask(client, model, "What should I know before I travel to Porto?").await?;
    print_all(stream.take(3)).await?;
    Ok(())
}

async fn ask(
    client: &Client<OpenAIConfig>,
    model: &str,
    question: &str,
) -> Result<impl Stream<Item = Result<String, OpenAIError>>, OpenAIError> {
    let request = CreateChatCompletionRequestArgs::default()
        .model(model)
        .messages([ChatCompletionRequestUserMessage::from(question).into()])
        .max_completion_tokens(128_u32)
        // Usage comes with the last chunk, and only if it is asked for. A stream that is left has none.
        .stream_options(ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None })
        .build()?;
    Ok(texts(client.chat().create_stream(request).await?))
}

/// The text of each chunk that has any.
fn texts(chunks: ChatCompletionResponseStream) -> impl Stream<Item = Result<String, OpenAIError>> {
    let text = |chunk: CreateChatCompletionStreamResponse| {
        let choice = chunk.choices.into_iter().next();
        choice.and_then(|choice| choice.delta.content).filter(|text| !text.is_empty())
    };
    chunks.try_filter_map(move |chunk| future::ok(text(chunk)))
}

async fn print_all(stream: impl Stream<Item = Result<String, OpenAIError>>) -> Result<(), OpenAIError> {
    let mut stream = std::pin::pin!(stream);
    while let Some(text) = stream.try_next().await? {
        print!("{text}");
        let _ = stdout().flush();
    }
    println!();
    Ok(())
}
