//! A chat service with many users at once. Who they are stands in the headers of their requests.
//!
//! It answers a few requests of its own and stops. With `--serve` it serves until ctrl-c:
//!
//! ```text
//! curl localhost:3000/chat -H 'x-user-id: ada' -H 'x-session-id: ada-1' --json '{"message": "Hello!"}'
//! curl localhost:3000/chat -H 'x-user-id: ada' --json '{"message": "Hello!", "stream": true}' --no-buffer
//! ```
#![expect(clippy::print_stdout, reason = "it says where it listens, and what its own requests got")]

mod chat;
mod demo;

use std::error::Error;

use async_openai::{Client, config::OpenAIConfig};
use axum::{Router, routing::post};
use pandaprobe::{Config, ConsoleExporter, OpenAiHandler, PandaProbeLayer};
use tokio::{net::TcpListener, sync::oneshot};

use crate::chat::Model;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Dropped last: what the last requests recorded is delivered before the process ends.
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();
    let endpoint = stand_in_model::endpoint();
    let config = OpenAIConfig::new().with_api_base(&endpoint.base_url).with_api_key(&endpoint.api_key);
    // One client for all users: the scope of a request says whose call it is.
    let client = OpenAiHandler::new().wrap(Client::with_config(config));
    let app = Router::new()
        .route("/chat", post(chat::chat))
        .layer(identity())
        .with_state(Model { client, name: endpoint.model });

    if std::env::args().any(|argument| argument == "--serve") {
        serve(app).await
    } else {
        serve_demo(app).await
    }
}

/// A scope for each request: whatever the request leads to has its user and session, until the last byte of its
/// answer. A real service takes the user from a verified token and not from a header that anybody can send.
fn identity() -> PandaProbeLayer {
    PandaProbeLayer::new().user_header("x-user-id").session_header("x-session-id").tag("http")
}

async fn serve(app: Router) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    let ctrl_c = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c).await?;
    Ok(())
}

async fn serve_demo(app: Router) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/chat", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let server = tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(stopped).into_future());
    demo::run(&url).await?;
    let _ = stop.send(());
    server.await??;
    Ok(())
}
