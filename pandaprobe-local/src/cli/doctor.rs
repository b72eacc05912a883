//! Is everything as it must be for traces to arrive?

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::Args;
use pandaprobe_core::{Client, Config, DEFAULT_ENDPOINT, Report, TraceId};
use serde::Serialize;

use super::Done;

/// How long to wait for a trace to be delivered, and then to be readable.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Something that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Doctor {
    pub(super) fn run(self) -> Done {
        let mut findings = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(examine(&mut findings));
        let mut out = io::stdout().lock();
        let healthy = findings.iter().all(|finding| finding.ok);
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?;
        } else {
            for finding in &findings {
                let mark = if finding.ok { "ok " } else { "NO " };
                writeln!(out, "{mark} {}: {}", finding.what, finding.found)?;
                if let Some(advice) = &finding.advice {
                    writeln!(out, "    {advice}")?;
                }
            }
        }
        if healthy { Ok(()) } else { Err("something is wrong".into()) }
    }
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn examine(findings: &mut Vec<Finding>) {
    let mut found = |what, ok, found: String, advice: Option<&str>| {
        findings.push(Finding { what, ok, found, advice: advice.map(str::to_owned) });
        ok
    };
    let endpoint = set("PANDAPROBE_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    found("PANDAPROBE_ENDPOINT", true, endpoint.clone(), None);
    let (key, project) = (set("PANDAPROBE_API_KEY"), set("PANDAPROBE_PROJECT_NAME"));
    let said = |value: &Option<String>| if value.is_some() { "set" } else { "not set" }.to_owned();
    let has_key = found(
        "PANDAPROBE_API_KEY",
        key.is_some(),
        said(&key),
        key.is_none().then_some(
            "Set it to your key. `pandaprobe-local serve` takes any. Without one, a program records where its code says.",
        ),
    );
    let has_project = found(
        "PANDAPROBE_PROJECT_NAME",
        project.is_some(),
        project.clone().unwrap_or_else(|| said(&project)),
        project.is_none().then_some("Set it to the name of your project. A new name makes a new project."),
    );
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            found("configuration", false, error.to_string(), Some("Correct that variable."));
            return;
        }
    };
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap_or_default();
    let reached = http.get(format!("{endpoint}/health")).send().await;
    let is_reached = match reached {
        Ok(answer) => found(
            "reaching the endpoint",
            answer.status().is_success(),
            format!("it answers {}", answer.status()),
            (!answer.status().is_success())
                .then_some("Is this the address of a PandaProbe server, without a path?"),
        ),
        Err(error) => {
            let why = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                .last()
                .map_or_else(String::new, ToString::to_string);
            found("reaching the endpoint", false, why, Some("Is the server running, and the address right?"))
        }
    };
    if has_key && has_project && is_reached {
        let trace = send(config, &mut found).await;
        if let (Some(trace), Some(key), Some(project)) = (trace, key, project) {
            read_back(&http, &format!("{endpoint}/traces/{trace}"), (&key, &project), &mut found).await;
        }
    }
}

async fn send(
    config: Config,
    found: &mut impl FnMut(&'static str, bool, String, Option<&str>) -> bool,
) -> Option<TraceId> {
    let reports: Arc<Mutex<Vec<Report>>> = Arc::default();
    let heard = Arc::clone(&reports);
    let config = config.on_error(move |report| {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone());
    });
    let client = match Client::new(config) {
        Ok(client) => client,
        Err(error) => {
            found("sending a trace", false, error.to_string(), Some("Correct the configuration."));
            return None;
        }
    };
    let trace = client.trace("pandaprobe-local doctor").tag("doctor").start();
    let Some(id) = trace.id() else {
        let advice = "PANDAPROBE_ENABLED turns recording off. Unset it.";
        found("sending a trace", false, "nothing is recorded".to_owned(), Some(advice));
        return None;
    };
    trace.end();
    let delivered = client.flush_async(PATIENCE).await;
    let _ = client.shutdown(Duration::from_secs(1));
    let reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
    let why = reports.last().map(|report| report.message.clone());
    let is_sent = delivered.is_ok() && why.is_none();
    let said = why.unwrap_or_else(|| if is_sent { "accepted" } else { "not delivered in time" }.to_owned());
    let advice = match said.as_str() {
        _ if is_sent => None,
        said if said.contains("401") || said.contains("403") => Some("The server does not know this key."),
        said if said.contains("429") => Some("The quota is used up, or too much was sent in a minute."),
        _ => Some("See what the server says."),
    };
    found("sending a trace", is_sent, said, advice);
    is_sent.then_some(id)
}

async fn read_back(
    http: &reqwest::Client,
    address: &str,
    (key, project): (&str, &str),
    found: &mut impl FnMut(&'static str, bool, String, Option<&str>) -> bool,
) {
    let begun = Instant::now();
    let mut said;
    loop {
        let request = http.get(address).header("x-api-key", key).header("x-project-name", project);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                let took = begun.elapsed().as_millis();
                found("reading it back", true, format!("it is there after {took} ms"), None);
                return;
            }
            Ok(answer) => said = answer.status().to_string(),
            Err(error) => said = error.to_string(),
        }
        if begun.elapsed() > PATIENCE {
            let advice = "It was accepted and cannot be read. Does the server's worker run?";
            found("reading it back", false, said, Some(advice));
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
