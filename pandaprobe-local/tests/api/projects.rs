//! What is one project's is not another's, by whichever way it is asked.

use std::time::Duration;

use pandaprobe_core::{Client, Config};
use pandaprobe_local::{Order, SessionFilter, SortBy, Store, TraceFilter, exporter};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    kit::{Local, id, trace},
    sdks::run,
    terminal::{program, program_with},
};

async fn ask(
    local: &Local,
    project: Option<&str>,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Value {
    let mut request = local.http.request(method, format!("{}{path}", local.server.url()));
    if let Some(project) = project {
        request = request.header("x-project-name", project);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.unwrap()
}

async fn post(local: &Local, project: &str, trace: &Value) {
    ask(local, Some(project), Method::POST, "/traces", Some(trace)).await;
}

/// A user and a session of the same ids in two projects, the bank's being the later.
async fn two_projects() -> Local {
    let local = Local::start();
    for (project, day, name) in [("shop", 1, "buy"), ("shop", 2, "pay"), ("bank", 3, "lend")] {
        let mut trace = trace(name);
        trace["started_at"] = json!(format!("2026-01-0{day}T00:00:00Z"));
        trace["ended_at"] = json!(format!("2026-01-0{day}T00:00:01Z"));
        post(&local, project, &trace).await;
    }
    local
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_to_those_whose_they_are() {
    let local = Local::start();
    let events = local.http.get(format!("{}/events", local.server.url())).header("x-project-name", "shop");
    let mut events = events.send().await.unwrap();
    for number in 0..300 {
        post(&local, "bank", &trace(&format!("theirs {number}"))).await;
    }
    post(&local, "shop", &trace("ours")).await;
    let chunk = tokio::time::timeout(Duration::from_secs(10), events.chunk()).await;
    let told = String::from_utf8(chunk.unwrap().unwrap().unwrap().to_vec()).unwrap();
    assert!(told.contains("ours") && !told.contains("theirs"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_in_two_projects_is_two_users_and_two_sessions() {
    let local = two_projects().await;
    let users = ask(&local, None, Method::GET, "/traces/users", None).await;
    let counts: Vec<_> =
        users["items"].as_array().unwrap().iter().map(|user| user["trace_count"].clone()).collect();
    assert_eq!((users["total"].clone(), counts), (json!(2), vec![json!(1), json!(2)]));
    let between = "started_after=2026-01-01&started_before=2026-01-31&granularity=week";
    let volume = ask(&local, None, Method::GET, &format!("/sessions/analytics?{between}"), None).await;
    let sessions: i64 =
        volume.as_array().unwrap().iter().filter_map(|week| week["session_count"].as_i64()).sum();
    assert_eq!(sessions, 2);

    // A page of a user is of the project that its address names; without one, of that where the user was last.
    let page = async |query: &str| {
        let page =
            local.http.get(format!("{}/ui/user?id=ada{query}", local.server.url())).send().await.unwrap();
        (page.status(), page.text().await.unwrap())
    };
    for (query, ours, theirs) in
        [("&project=shop", "buy", "lend"), ("&project=bank", "lend", "buy"), ("", "lend", "buy")]
    {
        let (_, page) = page(query).await;
        assert!(page.contains(ours) && !page.contains(theirs), "{query}: {page}");
    }
    assert_eq!(page("&project=none").await.0, StatusCode::NOT_FOUND);
    for path in ["/ui/users", "/ui/sessions", "/ui/overview"] {
        let page = local.http.get(format!("{}{path}", local.server.url())).send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(page.contains("project=shop") && page.contains("project=bank"), "{path}");
    }

    // What is read without a project is what is deleted without one.
    let session = ask(&local, None, Method::GET, "/sessions/session-1", None).await;
    assert_eq!(session["trace_count"], 1);
    let deleted = ask(&local, None, Method::DELETE, "/sessions/session-1", None).await;
    assert_eq!(deleted["deleted"], 1);
    let left = ask(&local, None, Method::GET, "/traces?sort_order=asc", None).await;
    assert_eq!((&left["total"], &left["items"][0]["name"]), (&json!(2), &json!("buy")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_named_whole() {
    let local = Local::start();
    let mut odd = trace("t");
    odd["user_id"] = json!("ada\u{0}x");
    post(&local, "shop", &odd).await;
    let sessions = local.server.store();
    let sessions = sessions.sessions(&SessionFilter::default(), "recent", Order::Desc, (9, 0)).unwrap();
    assert_eq!(sessions.items[0].user_id.as_deref(), Some("ada\u{0}x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_an_exporter_nor_an_import_changes_what_is_anothers() {
    let local = Local::start();
    let shops = trace("shop's");
    post(&local, "shop", &shops).await;
    let before = ask(&local, None, Method::GET, &format!("/traces/{}", id(&shops)), None).await;

    let config = Config::new().exporter(exporter(local.folder.0.join("traces.db")).project("bank"));
    let trace_id = id(&shops).parse().unwrap();
    tokio::task::spawn_blocking(move || {
        let bank = Client::new(config.retry_deadline(Duration::from_millis(300))).unwrap();
        bank.score(Some(trace_id), "quality", 0.1);
        bank.flush(Duration::from_secs(10)).unwrap();
        assert_eq!(bank.stats().dropped.values().sum::<u64>(), 1);
    })
    .await
    .unwrap();

    let mut again = shops.clone();
    again["name"] = json!("bank's");
    let lines = [
        again,
        json!({"trace_id": id(&shops), "spans": [{"name": "bank's", "started_at": "2026-01-01"}]}),
        json!({"trace_id": id(&shops), "update": {"name": "bank's"}}),
        json!({"score": {"trace_id": id(&shops), "name": "n", "value": "1"}}),
    ];
    let named: Vec<_> = lines
        .iter()
        .map(|line| {
            let mut line = line.clone();
            line["project"] = json!("bank");
            line
        })
        .collect();
    let file = |lines: &[Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(local.folder.0.join("plain.jsonl"), file(&lines)).unwrap();
    std::fs::write(local.folder.0.join("named.jsonl"), file(&named)).unwrap();
    for arguments in
        [&["import", "--json", "--project", "bank", "plain.jsonl"][..], &["import", "--json", "named.jsonl"]]
    {
        let output = program(&local, arguments).output().unwrap();
        let counted: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(counted, json!({"imported": 0, "refused": 4}), "{arguments:?}");
    }
    let after = ask(&local, None, Method::GET, &format!("/traces/{}", id(&shops)), None).await;
    assert_eq!(before, after);
    let scores =
        ask(&local, None, Method::GET, &format!("/evaluations/trace-scores/{}", id(&shops)), None).await;
    assert_eq!(scores, json!([]));

    // What is the shop's own goes through, by the name on the command line.
    run(&mut program(&local, &["import", "--project", "shop", "plain.jsonl"]));
    let after = ask(&local, None, Method::GET, &format!("/traces/{}", id(&shops)), None).await;
    assert_eq!((&after["name"], after["spans"].as_array().unwrap().len()), (&json!("bank's"), 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_keeps_to_whom_each_line_belongs() {
    let local = Local::start();
    let mut long = trace("long");
    let span = |number: u32| json!({"name": format!("step {number}"), "started_at": "2026-01-02T03:04:05Z"});
    long["spans"] = (0..500).map(span).collect();
    post(&local, "shop", &long).await;
    let spans: Value = (500..700).map(span).collect();
    ask(&local, Some("shop"), Method::POST, &format!("/traces/{}/spans", id(&long)), Some(&spans)).await;
    let score = json!({"trace_id": id(&long), "name": "n", "value": "1"});
    ask(&local, Some("shop"), Method::POST, "/evaluations/trace-scores", Some(&score)).await;
    run(&mut program(&local, &["export", "all.jsonl"]));
    let lines = std::fs::read_to_string(local.folder.0.join("all.jsonl")).unwrap();
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert_eq!(line["project"], "shop");
    }
    run(&mut program_with(&local, "copy.db", &["import", "all.jsonl"]));
    let copy = Store::open(local.folder.0.join("copy.db")).unwrap();
    let filter = TraceFilter { project: Some("shop".to_owned()), ..TraceFilter::default() };
    let copied = copy.traces(&filter, SortBy::default(), Order::default(), (9, 0)).unwrap();
    assert_eq!((copied.total, copied.items[0].span_count), (1, 700));
    assert_eq!(copy.scores_of(id(&long).parse().unwrap()).unwrap().len(), 1);
}
