//! The endpoint follows the environment. Each case is a process of its own, because a variable belongs to a process.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::process::Command;

/// Runs `print_endpoint` with only these variables of ours; returns its output and its stderr.
fn endpoint_with(variables: &[(&str, &str)]) -> (String, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "print_endpoint"]);
    for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
#[ignore = "run by the other tests, with the variables they set"]
fn print_endpoint() {
    let endpoint = stand_in_model::endpoint();
    println!("{} {} {}", endpoint.base_url, endpoint.model, endpoint.stand_in.is_some());
    println!("{endpoint:?}");
}

#[test]
fn without_a_key_a_stand_in_answers_and_says_so() {
    let (stdout, stderr) = endpoint_with(&[("OPENAI_API_KEY", "")]);
    assert!(stdout.contains("/v1 gpt-4o-mini true"), "{stdout}");
    assert_eq!(stderr.lines().filter(|line| line.contains("stand-in")).count(), 1);
}

#[test]
fn with_a_key_the_service_answers() {
    let (stdout, stderr) = endpoint_with(&[("OPENAI_API_KEY", "sk-secret")]);
    assert!(stdout.contains("https://api.openai.com/v1 gpt-4o-mini false"), "{stdout}");
    assert!(!stdout.contains("sk-secret"), "the key must not be printed");
    assert_eq!(stderr, "");
}

#[test]
fn address_and_model_can_be_chosen() {
    let (stdout, _) = endpoint_with(&[
        ("OPENAI_API_KEY", "sk-secret"),
        ("OPENAI_BASE_URL", "http://localhost:9/v1/"),
        ("OPENAI_MODEL", "tiny"),
    ]);
    assert!(stdout.contains("http://localhost:9/v1 tiny false"), "{stdout}");
}
