//! Traces and spans written by hand. The samples are in `samples.rs`, and one for each rule in `rules.rs`; this runs them and
//! prints what they record.
#![expect(clippy::print_stdout, reason = "this program shows what its samples give")]

mod rules;
mod samples;

use std::{error::Error, time::Duration};

use futures_util::StreamExt;
use pandaprobe::{Config, ConsoleExporter};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _guard = pandaprobe::init(Config::from_env_or((
        ConsoleExporter::default(),
        pandaprobe::local::exporter(".pandaprobe/traces.db"),
    ))?)?;
    stand_in_model::viewer_hint();
    let trace = samples::steps().await;
    samples::scores(trace);
    if let Err(error) = samples::errors().await {
        println!("the job failed: {error}");
    }
    samples::cancelled().await;
    samples::nested();
    samples::handles().await;
    let answer: String = samples::chat("ada".to_owned(), "What is new?".to_owned()).collect().await;
    println!("the answer: {answer}");
    rules::scopes();
    rules::setters();
    rules::ends().await;
    rules::decorators().await;
    rules::scores(trace, flush);
    println!("captured: {:?}", rules::captures(flush));
    pandaprobe::Scope::new().run(rules::precedence);
    // The process default is for good, so it comes last.
    rules::defaults().await;
    Ok(())
}

fn flush() {
    if let Err(error) = pandaprobe::flush(Duration::from_secs(5)) {
        println!("{error}");
    }
}
