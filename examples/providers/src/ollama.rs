//! Ollama's own chat, streamed, with requests of one's own.

use pandaprobe::HttpHandler;
use reqwest_middleware::ClientBuilder;
use serde_json::{Value, json};

use crate::{BoxError, Server};

/// Asks a model of Ollama; the answer is a line of JSON for each piece. No key is needed.
///
/// # Errors
///
/// If the request fails or is refused, or if a line is no JSON.
pub async fn ask(server: &Server, handler: HttpHandler, question: &str) -> Result<String, BoxError> {
    let client = ClientBuilder::new(reqwest::Client::new()).with(handler).build();
    let request = json!({"model": "llama3.2", "messages": [{"role": "user", "content": question}]});
    let response = client.post(format!("{}/api/chat", server.url)).json(&request).send().await?;
    let body = response.error_for_status()?.text().await?;
    let mut answer = String::new();
    for line in body.lines() {
        let piece: Value = serde_json::from_str(line)?;
        answer += piece["message"]["content"].as_str().unwrap_or_default();
    }
    Ok(answer)
}
