//! Other SDKs, and this one, pointed at the server: what they send comes back.

use std::{path::Path, process::Command, time::Duration};

use pandaprobe_core::{Client, Config, span};
use pandaprobe_local::exporter;
use pandaprobe_tests::shared;
use serde_json::json;

use crate::kit::{Folder, Local};

/// What all SDKs are asked to send: a session of a user with two turns, and a score of each.
pub(crate) async fn assert_arrived(local: &Local) {
    let traces = local.get("/traces?sort_order=asc", "PaginatedResponse_TraceListItem_").await;
    assert_eq!(traces["total"], 2, "{traces}");
    for (turn, row) in traces["items"].as_array().unwrap().iter().enumerate() {
        assert_eq!(row["name"], format!("turn-{turn}"));
        assert_eq!((&row["user_id"], &row["session_id"]), (&json!("ada"), &json!("conversation-1")));
        let id = row["trace_id"].as_str().unwrap();
        let trace = local.get(&format!("/traces/{id}"), "TraceResponse").await;
        let spans = trace["spans"].as_array().unwrap();
        let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
        assert_eq!((&named("agent")["kind"], &named("ask")["kind"]), (&json!("AGENT"), &json!("LLM")));
        assert_eq!(named("ask")["parent_span_id"], named("agent")["span_id"]);
        assert_eq!(named("ask")["token_usage"]["prompt_tokens"], 7);
        let scores = local.get(&format!("/evaluations/trace-scores/{id}"), "[TraceScoreResponse]").await;
        assert_eq!(
            (&scores[0]["name"], &scores[0]["source"]),
            (&json!("helpful"), &json!("PROGRAMMATIC")),
            "{scores}"
        );
    }
    let session = local.get("/sessions/conversation-1", "SessionDetail").await;
    assert_eq!((&session["trace_count"], &session["user_id"]), (&json!(2), &json!("ada")));
    let users = local.get("/traces/users", "PaginatedResponse_UserSummary_").await;
    assert_eq!(
        (&users["items"][0]["user_id"], &users["items"][0]["trace_count"]),
        (&json!("ada"), &json!(2))
    );
}

pub(crate) fn record(client: &Client) {
    for turn in 0..2 {
        let trace = client.trace(format!("turn-{turn}")).user_id("ada").session_id("conversation-1").start();
        trace.run(|| {
            span("agent").kind(pandaprobe_core::SpanKind::Agent).run(|_| {
                span("ask").kind(pandaprobe_core::SpanKind::Llm).run(|ask| {
                    ask.set_token_usage(pandaprobe_core::TokenUsage::new(7, 3));
                });
            });
        });
        let id = trace.id().unwrap();
        trace.end();
        client.score(id, "helpful", 0.9);
    }
    client.flush(Duration::from_secs(10)).unwrap();
    client.shutdown(Duration::from_secs(10)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn this_sdk_over_http() {
    let local = Local::start();
    let config = Config::new().api_key("any").project_name("tests").endpoint(local.server.url()).unwrap();
    tokio::task::spawn_blocking(|| record(&Client::new(config).unwrap())).await.unwrap();
    assert_arrived(&local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_sdk_straight_into_the_file() {
    let local = Local::start();
    let config = Config::new().exporter(exporter(local.folder.0.join("traces.db")).project("tests"));
    tokio::task::spawn_blocking(|| record(&Client::new(config).unwrap())).await.unwrap();
    assert_arrived(&local).await;
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}\n{}\n{}", said[0], said[1]);
}

/// Runs a script that reads the endpoint from the environment.
fn run_script(local: &Local, program: &str, script: &Path, variables: &[(&str, &Path)]) {
    let mut command = Command::new(program);
    command.arg(script).envs(variables.iter().copied());
    command.env("PANDAPROBE_ENDPOINT", local.server.url());
    command.env("PANDAPROBE_API_KEY", "any").env("PANDAPROBE_PROJECT_NAME", "tests");
    run(command.current_dir(script.parent().unwrap()));
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk() {
    let folder = Folder::new();
    let packages = folder.0.join("packages");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&packages).arg("pandaprobe==0.6.0");
    let installed = has("python3") && pip.output().is_ok_and(|output| output.status.success());
    if !shared::require("python", installed) {
        return;
    }
    let local = Local::start();
    let script = folder.0.join("client.py");
    std::fs::write(&script, include_str!("client.py")).unwrap();
    run_script(&local, "python3", &script, &[("PYTHONPATH", &packages)]);
    assert_arrived(&local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("package.json"), r#"{"private": true, "type": "module"}"#).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "pandaprobe@0.4.2"]).current_dir(&folder.0);
    let installed = has("node") && npm.output().is_ok_and(|output| output.status.success());
    if !shared::require("node", installed) {
        return;
    }
    let local = Local::start();
    let script = folder.0.join("client.mjs");
    std::fs::write(&script, include_str!("client.mjs")).unwrap();
    run_script(&local, "node", &script, &[]);
    assert_arrived(&local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_a_trace_waits_for_it() {
    let local = Local::start();
    let path = local.folder.0.join("traces.db");
    let client = || Client::new(Config::new().exporter(exporter(&path).project("tests"))).unwrap();
    // A process that judges what another has not written yet.
    let (agent, judge) = (client(), client());
    let trace = agent.trace("slow").start();
    judge.score(trace.id(), "quality", 0.5);
    tokio::time::sleep(Duration::from_millis(800)).await;
    let id = trace.id().unwrap().to_string();
    trace.end();
    tokio::task::spawn_blocking(move || {
        agent.shutdown(Duration::from_secs(5)).unwrap();
        judge.flush(Duration::from_secs(10)).unwrap();
    })
    .await
    .unwrap();
    let scores = local.get(&format!("/evaluations/trace-scores/{id}"), "[TraceScoreResponse]").await;
    assert_eq!((&scores[0]["name"], &scores[0]["value"]), (&json!("quality"), &json!("0.5")));
}
