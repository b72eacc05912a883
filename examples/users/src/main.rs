//! The samples of PandaProbe's page on users, in Rust. They are in `samples.rs`; this prints what each of them records.
#![expect(clippy::print_stdout, reason = "this program shows what its samples record")]

mod samples;

use std::{error::Error, time::Duration};

use async_openai::{Client, config::OpenAIConfig};
use pandaprobe::{Config, ConsoleExporter};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();
    let endpoint = stand_in_model::endpoint();
    let config = OpenAIConfig::new().with_api_base(&endpoint.base_url).with_api_key(&endpoint.api_key);

    show("a scope");
    samples::scoped().await;
    show("session and user");
    samples::combined().await;
    show("set_user");
    samples::imperative().await;
    show("explicit parameters");
    samples::explicit();
    show("a handler");
    samples::handler(Client::with_config(config), &endpoint.model).await?;
    Ok(())
}

fn show(what: &str) {
    // Only so that what was recorded before is printed before.
    let _ = pandaprobe::flush(Duration::from_secs(2));
    println!("\n{what}");
}
