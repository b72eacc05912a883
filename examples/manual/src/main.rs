//! Traces and spans written by hand. The samples are in `samples.rs`; this runs them and prints what they record.
#![expect(clippy::print_stdout, reason = "this program shows what its samples give")]

mod samples;

use std::error::Error;

use futures_util::StreamExt;
use pandaprobe::{Config, ConsoleExporter};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _guard = pandaprobe::init(Config::from_env_or(ConsoleExporter::default())?)?;
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
    Ok(())
}
