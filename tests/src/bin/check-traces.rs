//! Checks a file of traces, one JSON a line, as the file exporter writes it.
//!
//! `cargo run -p pandaprobe-tests --bin check-traces -- FILE`
//!
//! Every trace must be what `POST /traces` takes (read strictly, where the API's description is at hand), carry a
//! session, a user and spans, and each of its LLM spans a model, input, output and usage.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks")]

use std::process::ExitCode;

use pandaprobe_tests::{contract, shared};
use serde_json::Value;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: check-traces FILE");
        return ExitCode::FAILURE;
    };
    match check(&path) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{path}: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let strictly = shared::require("shared", contract::available());
    let (mut traces, mut calls) = (0, 0);
    for (at, line) in text.lines().enumerate() {
        let fault = |what: String| format!("line {}: {what}", at + 1);
        let trace: Value = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
        if strictly {
            contract::trace_create(&trace).map_err(fault)?;
        }
        calls += check_trace(&trace).map_err(fault)?;
        traces += 1;
    }
    if traces == 0 || calls == 0 {
        return Err(format!("{traces} traces with {calls} LLM spans"));
    }
    let how = if strictly { "valid" } else { "whole" };
    Ok(format!("{traces} traces with {calls} LLM spans, all {how}"))
}

/// How many LLM spans it has.
fn check_trace(trace: &Value) -> Result<usize, String> {
    for field in ["session_id", "user_id"] {
        let given = trace[field].as_str().is_some_and(|id| !id.is_empty());
        given.then_some(()).ok_or(format!("the trace has no {field}"))?;
    }
    let spans =
        trace["spans"].as_array().filter(|spans| !spans.is_empty()).ok_or("the trace has no spans")?;
    let calls: Vec<&Value> = spans.iter().filter(|span| span["kind"] == "LLM").collect();
    for call in &calls {
        for field in ["model", "input", "output", "token_usage"] {
            call.get(field).ok_or(format!("the LLM span {} has no {field}", call["name"]))?;
        }
    }
    Ok(calls.len())
}
