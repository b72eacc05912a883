//! Gemini, streamed, with requests of one's own.

use futures_util::StreamExt;
use pandaprobe::HttpHandler;
use reqwest_middleware::ClientBuilder;
use serde_json::{Value, json};

use crate::{BoxError, Server};

/// Asks Gemini, and reads its answer as it comes: a JSON array in pieces.
///
/// # Errors
///
/// If the request fails or is refused, or if the answer is no JSON.
pub async fn ask(server: &Server, handler: HttpHandler, question: &str) -> Result<String, BoxError> {
    let client = ClientBuilder::new(reqwest::Client::new()).with(handler).build();
    let response = client
        .post(format!("{}/v1beta/models/gemini-2.5-flash:streamGenerateContent", server.url))
        .header("x-goog-api-key", &server.key)
        .json(&json!({"contents": [{"role": "user", "parts": [{"text": question}]}]}))
        .send()
        .await?
        .error_for_status()?;
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
    }
    let chunks: Vec<Value> = serde_json::from_slice(&body)?;
    let texts = chunks.iter().map(|chunk| &chunk["candidates"][0]["content"]["parts"][0]["text"]);
    Ok(texts.filter_map(Value::as_str).collect())
}
