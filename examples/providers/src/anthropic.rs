//! Anthropic's Messages, with requests of one's own.

use pandaprobe::HttpHandler;
use reqwest_middleware::ClientBuilder;
use serde_json::{Value, json};

use crate::{BoxError, Server};

/// Asks Claude.
///
/// # Errors
///
/// If the request fails or is refused.
pub async fn ask(server: &Server, handler: HttpHandler, question: &str) -> Result<String, BoxError> {
    let client = ClientBuilder::new(reqwest::Client::new()).with(handler).build();
    let request = json!({
        "model": "claude-haiku-4-5",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": question}],
    });
    let response = client
        .post(format!("{}/v1/messages", server.url))
        .header("x-api-key", &server.key)
        .header("anthropic-version", "2023-06-01")
        .json(&request)
        .send()
        .await?;
    let answer: Value = response.error_for_status()?.json().await?;
    Ok(answer["content"][0]["text"].as_str().unwrap_or_default().to_owned())
}
