//! Asks a provider one question and shows the trace.
//!
//! `cargo run -p providers -- anthropic|bedrock|gemini|mistral|ollama`
#![expect(clippy::print_stdout, reason = "an answer on the terminal is what this program is for")]

use pandaprobe::{Config, ConsoleExporter, HttpHandler, OpenAiHandler};
use providers::{BoxError, Server, anthropic, bedrock, gemini, mistral, ollama};

const QUESTION: &str = "In one sentence: what is a panda?";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();
    let handler = HttpHandler::new().session_id("conversation-123").user_id("user-abc");
    let provider = std::env::args().nth(1).unwrap_or_default();
    let answer = match provider.as_str() {
        "anthropic" => {
            let server = server("https://api.anthropic.com", "ANTHROPIC_API_KEY")?;
            anthropic::ask(&server, handler, QUESTION).await?
        }
        "bedrock" => {
            let url = "https://bedrock-runtime.us-east-1.amazonaws.com";
            bedrock::ask(&server(url, "AWS_BEARER_TOKEN_BEDROCK")?, handler, QUESTION).await?
        }
        "gemini" => {
            let server = server("https://generativelanguage.googleapis.com", "GEMINI_API_KEY")?;
            gemini::ask(&server, handler, QUESTION).await?
        }
        "mistral" => {
            let handler = OpenAiHandler::new().session_id("conversation-123").user_id("user-abc");
            mistral::ask(&server("https://api.mistral.ai", "MISTRAL_API_KEY")?, handler, QUESTION).await?
        }
        "ollama" => {
            let server = Server { url: "http://localhost:11434".to_owned(), key: String::new() };
            ollama::ask(&server, handler, QUESTION).await?
        }
        _ => return Err("usage: providers anthropic|bedrock|gemini|mistral|ollama".into()),
    };
    println!("{answer}");
    Ok(())
}

fn server(url: &str, key: &str) -> Result<Server, BoxError> {
    let value = std::env::var(key).map_err(|_| format!("{key} is not set"))?;
    Ok(Server { url: url.to_owned(), key: value })
}
