//! The program in the terminal.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use pandaprobe_core::{Client, Config};
use pandaprobe_local::exporter;
use pandaprobe_tests::{contract, shared};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    kit::{Folder, Local, id, trace},
    sdks::{assert_arrived, record, run},
};

/// The program, with a store beside that of the server, or that one.
pub(crate) fn program_with(local: &Local, store: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pandaprobe-local"));
    command.arg("--store").arg(local.folder.0.join(store)).args(arguments).current_dir(&local.folder.0);
    command
}

pub(crate) fn program(local: &Local, arguments: &[&str]) -> Command {
    program_with(local, "traces.db", arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_stored_is_shown_and_exported() {
    let local = Local::start();
    let mut odd = trace("odd \u{1b}[2J \u{9b}31m");
    odd["user_id"] = json!("\u{1b}]0;title\u{7}");
    odd["tags"] = json!(["\u{1b}[1m"]);
    odd["spans"][1]["name"] = json!("name\r\u{1b}[1A");
    let odd_id = id(&odd).to_owned();
    let body = odd
        .to_string()
        .replace(r#""prompt_tokens":10"#, r#""prompt_tokens":"many""#)
        .replace(r#""completion_tokens":5"#, r#""completion_tokens":2.0"#)
        .replace(r#""total":0.003"#, r#""other":0.003"#)
        .replace(
            r#""input":{"query":"lake"}"#,
            &format!(r#""input":{}1e400{},"output":"\\ud800""#, "[".repeat(300), "]".repeat(300)),
        );
    let post = local.http.post(format!("{}/traces", local.server.url())).header("x-project-name", "tests");
    assert_eq!(post.body(body).send().await.unwrap().status(), StatusCode::ACCEPTED);
    for (value, metadata) in [("0.1", r#"{"a":1e999}"#), ("0.9", r#"{"b":"\ud800"}"#)] {
        let score =
            format!(r#"{{"trace_id":"{odd_id}","name":"quality","value":"{value}","metadata":{metadata}}}"#);
        let post = local.http.post(format!("{}/evaluations/trace-scores", local.server.url())).body(score);
        assert_eq!(post.send().await.unwrap().status(), StatusCode::CREATED);
    }

    for arguments in [&["ls"][..], &["show", &odd_id], &["ls", "--json"], &["show", "--json", &odd_id]] {
        let output = program(&local, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let obeyed = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(obeyed, None, "{arguments:?}: {text:?}");
        assert!(text.contains("odd"), "{text}");
    }
    run(&mut program(&local, &["export", "all.jsonl"]));
    run(&mut program_with(&local, "copy.db", &["import", "all.jsonl"]));
    let copy = pandaprobe_local::Store::open(local.folder.0.join("copy.db")).unwrap();
    let scores = copy.scores_of(odd_id.parse().unwrap()).unwrap();
    assert_eq!(scores.len(), 1);
    assert_eq!(
        (scores[0].value.as_deref(), scores[0].project.as_str()),
        (Some("0.9"), "tests"),
        "the last one counts"
    );
    let again = program_with(&local, "copy.db", &["export"]).output().unwrap();
    assert_eq!(
        again.stdout,
        std::fs::read(local.folder.0.join("all.jsonl")).unwrap(),
        "nothing is lost on the way"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_ends_a_command_well() {
    let local = Local::start();
    let mut long = trace("long");
    long["input"] = json!("x".repeat(2 << 20));
    local.post("/traces", long.clone()).await;
    for arguments in [&["show", "--json", id(&long)][..], &["export"]] {
        let mut child =
            program(&local, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_where_its_name_leads() {
    let local = Local::start();
    local.post("/traces", trace("t")).await;
    let at = |name: &str| local.folder.0.join(name);
    let exported = program(&local, &["export"]).output().unwrap().stdout;
    // A pipe.
    assert_eq!(program(&local, &["export", "/dev/stdout"]).output().unwrap().stdout, exported);
    // A link stays one.
    std::fs::write(at("target.jsonl"), "before").unwrap();
    std::os::unix::fs::symlink("target.jsonl", at("link.jsonl")).unwrap();
    run(&mut program(&local, &["export", "link.jsonl"]));
    assert!(std::fs::symlink_metadata(at("link.jsonl")).unwrap().is_symlink());
    assert_eq!(std::fs::read(at("target.jsonl")).unwrap(), exported);
    // An export that fails leaves what was there, and nothing beside it.
    let other = rusqlite::Connection::open(at("traces.db")).unwrap();
    other.execute_batch("DROP TABLE scores").unwrap();
    assert!(!program(&local, &["export", "target.jsonl"]).output().unwrap().status.success());
    assert_eq!(std::fs::read(at("target.jsonl")).unwrap(), exported);
    assert!(!at("target.jsonl.part").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_the_sdk_does_not_know_are_shown() {
    let local = Local::start();
    let mut old = trace("old");
    old["started_at"] = json!("1901-01-01");
    old["spans"][0]["started_at"] = json!("0001-01-01");
    local.post("/traces", old.clone()).await;
    let shown = program(&local, &["show", id(&old)]).output().unwrap();
    assert!(
        shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("old COMPLETED"),
        "{shown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_score_is_the_one_that_was_given_last() {
    let local = Local::start();
    let judged = trace("t");
    local.post("/traces", judged.clone()).await;
    local
        .post("/evaluations/trace-scores", json!({"trace_id": id(&judged), "name": "n", "value": "0.9"}))
        .await;
    let early = json!({"score": {"trace_id": id(&judged), "name": "n", "value": "0.2",
        "score_id": "10000000-0000-4000-8000-000000000000", "created_at": "2026-01-01T00:00:00Z"}});
    std::fs::write(local.folder.0.join("early.jsonl"), early.to_string()).unwrap();
    run(&mut program(&local, &["import", "--project", "tests", "early.jsonl"]));
    let path = format!("/evaluations/trace-scores/{}", id(&judged));
    let scores = local.get(&path, "[TraceScoreResponse]").await;
    assert_eq!((scores.as_array().unwrap().len(), &scores[0]["value"]), (1, &json!("0.9")));
    let page = local.http.get(format!("{}/ui/traces", local.server.url())).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("<bdi>0.9</bdi>") && !page.contains("<bdi>0.2</bdi>"), "{page}");
}

#[test]
fn what_cannot_be_imported_is_told_by_line() {
    let local = Local::start();
    let lines = [
        trace("fine").to_string(),
        "not json".to_owned(),
        String::new(),
        r#"{"name":"t","started_at":"2026-01-01","spans":[{"name":"s","started_at":"2026-01-01","cost":{"\u001b[2J":"x"}}]}"#.to_owned(),
        r#"{"score":{"trace_id":"10000000-0000-4000-8000-000000000000","name":"n","value":"1"}}"#.to_owned(),
        r#"{"what":"else"}"#.to_owned(),
    ];
    std::fs::write(local.folder.0.join("lines.jsonl"), lines.join("\n")).unwrap();
    let output = program(&local, &["import", "lines.jsonl"]).output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    for line in [
        "line 2: ",
        "line 4: spans[0].cost",
        "line 5: its trace is not in the store",
        "line 6: ",
        "1 lines were imported",
        "4 lines were not",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let output = program(&local, &["import", "lines.jsonl", "--json"]).output().unwrap();
    let counted: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counted, json!({"imported": 1, "refused": 4}));
}

#[test]
fn a_server_tells_why_its_store_fails() {
    let folder = Folder::new();
    let path = folder.0.join("traces.db");
    let mut server = Command::new(env!("CARGO_BIN_EXE_pandaprobe-local"));
    server
        .arg("--store")
        .arg(&path)
        .args(["serve", "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let first = BufReader::new(server.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let url = first.rsplit(' ').next().unwrap().to_owned();
    // A table that is gone is the nearest thing to a store that is damaged.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE trace_tags").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(async {
        let post = reqwest::Client::new().request(Method::POST, format!("{url}/traces"));
        let answer = post.json(&trace("t")).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    });
    assert_eq!(answer.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.1.contains("trace_tags"), "{}", answer.1);
    let said = BufReader::new(server.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(said.contains("the store failed") && said.contains("trace_tags"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_imported() {
    let local = Local::start();
    let config = Config::new().exporter(exporter(local.folder.0.join("traces.db")).project("tests"));
    tokio::task::spawn_blocking(|| record(&Client::new(config).unwrap())).await.unwrap();
    let program = |store: &str, arguments: &[&str]| program_with(&local, store, arguments);
    run(&mut program("traces.db", &["export", "all.jsonl"]));
    let exported = std::fs::read_to_string(local.folder.0.join("all.jsonl")).unwrap();
    let lines = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let traces: Vec<Value> = lines.filter(|line| line["name"].is_string()).collect();
    assert_eq!(traces.len(), 2);
    if shared::require("shared", contract::available()) {
        for mut trace in traces {
            assert_eq!(trace.as_object_mut().unwrap().remove("project"), Some(json!("tests")));
            contract::trace_create(&trace).unwrap();
        }
    }
    for _ in 0..2 {
        run(&mut program("copy.db", &["import", "all.jsonl"]));
    }
    let copy = pandaprobe_local::ServerConfig::new(local.folder.0.join("copy.db")).port(0);
    let copy = Local {
        server: pandaprobe_local::LocalServer::start_with(copy).unwrap(),
        http: reqwest::Client::new(),
        folder: Folder::new(),
    };
    assert_arrived(&copy).await;
    let scores = copy.get("/evaluations/trace-scores", "PaginatedResponse_TraceScoreResponse_").await;
    assert_eq!(scores["total"], 2, "importing twice judges nothing twice");

    let listed = program("copy.db", &["ls", "--json", "--user", "ada"]).output().unwrap();
    let rows: Vec<Value> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2);
    let id = rows[0]["trace_id"].as_str().unwrap();
    let shown = program("copy.db", &["show", &id[..13]]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("turn-1 COMPLETED") && shown.contains("LLM ask") && shown.contains("user=ada"),
        "{shown}"
    );
    let mut opened = program("copy.db", &["open", "--no-browser", "--json", "--port", "0", &id[..13]]);
    let mut opened = opened.stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(opened.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    opened.kill().unwrap();
    opened.wait().unwrap();
    assert!(said.contains(&format!("/ui/traces/{id}")), "{said}");
    let pruned = program("copy.db", &["prune", "--max-size", "1B", "--json"]).output().unwrap();
    let pruned: Value = serde_json::from_slice(&pruned.stdout).unwrap();
    assert_eq!(pruned["traces"], 2);
    let missing = program("none.db", &["ls"]).output().unwrap();
    assert!(!missing.status.success() && !local.folder.0.join("none.db").exists());

    let doctor = |variables: &[(&str, &str)]| {
        let mut command = program("copy.db", &["doctor", "--json"]);
        command
            .env_remove("PANDAPROBE_API_KEY")
            .env_remove("PANDAPROBE_PROJECT_NAME")
            .envs(variables.iter().copied());
        let output = command.output().unwrap();
        (output.status.success(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let url = copy.server.url();
    let key = ("PANDAPROBE_API_KEY", "any");
    let project = ("PANDAPROBE_PROJECT_NAME", "tests");
    let (healthy, findings) = doctor(&[("PANDAPROBE_ENDPOINT", &url), key, project]);
    assert!(healthy, "{findings}");
    assert!(findings.as_array().unwrap().iter().any(|finding| finding["what"] == "reading it back"));
    let (healthy, findings) = doctor(&[("PANDAPROBE_ENDPOINT", &url), project]);
    assert!(!healthy && findings[1]["ok"] == false && findings[1]["advice"].is_string(), "{findings}");
    let off = ("PANDAPROBE_ENABLED", "n");
    let (healthy, findings) = doctor(&[("PANDAPROBE_ENDPOINT", &url), key, project, off]);
    let last = findings.as_array().unwrap().last().unwrap();
    assert!(!healthy && last["found"] == "nothing is recorded", "{findings}");
    let (healthy, findings) = doctor(&[("PANDAPROBE_ENDPOINT", "http://127.0.0.1:9"), key, project]);
    assert!(
        !healthy && findings.as_array().unwrap().last().unwrap()["what"] == "reaching the endpoint",
        "{findings}"
    );
}
