//! Without `init`, the first call that records makes a client from the environment. The environment is the process's,
//! so each case is a process of its own: this test program, started again.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::{
    process::{Command, Output},
    time::Duration,
};

use pandaprobe_tests::backend::Backend;

/// Runs [`child`] with these variables.
fn run(variables: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    command.args(["--ignored", "--exact", "child", "--nocapture"]);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PANDAPROBE_"))
    {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().expect("a process")
}

#[test]
#[ignore = "run by the other tests, with the variables they set"]
fn child() {
    pandaprobe::trace("from a child").user_id("ada").run(|_| pandaprobe::span("step").run(|_| ()));
    let flushed = pandaprobe::flush(Duration::from_secs(5));
    println!("traces={} flushed={}", pandaprobe::stats().traces, flushed.is_ok());
}

fn said(output: &Output, text: &str) {
    let all =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && all.contains(text), "{all}");
}

#[test]
fn a_key_and_a_project_are_enough() {
    let backend = Backend::start();
    let url = backend.url();
    let output = run(&[
        ("PANDAPROBE_API_KEY", "sk_pp_child"),
        ("PANDAPROBE_PROJECT_NAME", "children"),
        ("PANDAPROBE_ENDPOINT", &url),
        ("PANDAPROBE_ENVIRONMENT", "test"),
        ("PANDAPROBE_BATCH_SIZE", "not a number"),
    ]);
    said(&output, "traces=1 flushed=true");
    let request = &backend.requests()[0];
    assert_eq!(request.header("x-api-key"), Some("sk_pp_child"));
    assert_eq!(request.header("x-project-name"), Some("children"));
    let trace = &backend.traces()[0];
    assert_eq!((&trace["user_id"], &trace["environment"]), (&"ada".into(), &"test".into()));
}

#[test]
fn without_them_or_with_nonsense_the_program_runs_as_if_nothing_were_there() {
    let key = ("PANDAPROBE_API_KEY", "sk_pp_child");
    let project = ("PANDAPROBE_PROJECT_NAME", "children");
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[key],
        &[key, project, ("PANDAPROBE_ENABLED", "false")],
        &[key, project, ("PANDAPROBE_ENDPOINT", "nonsense")],
        &[("PANDAPROBE_API_KEY", "bad\u{e9}key"), project],
    ];
    for variables in cases {
        said(&run(variables), "traces=0 flushed=true");
    }
}

#[test]
fn debug_says_on_standard_error_why_nothing_arrives() {
    let output = run(&[
        ("PANDAPROBE_API_KEY", "sk_pp_child"),
        ("PANDAPROBE_PROJECT_NAME", "children"),
        ("PANDAPROBE_ENDPOINT", "http://127.0.0.1:9"),
        ("PANDAPROBE_DEBUG", "true"),
    ]);
    said(&output, "flushed=false");
    said(&output, "pandaprobe: Retrying:");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("sk_pp_child"));
}
