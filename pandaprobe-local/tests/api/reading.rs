//! What is read.

use reqwest::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Local, id, trace};

const LIST: &str = "PaginatedResponse_TraceListItem_";

async fn names(local: &Local, query: &str) -> Vec<String> {
    let listed = local.get(&format!("/traces?{query}"), LIST).await;
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// Traces that differ in everything that can be asked for.
async fn filled() -> Local {
    let local = Local::start();
    for (hour, name, user, session, status, tag) in [
        (1, "Alpha_1", "ada", "s1", "COMPLETED", "x"),
        (2, "beta", "bob", "s1", "ERROR", "y"),
        (3, "gamma", "ada", "s2", "RUNNING", "x"),
    ] {
        let mut trace = trace(name);
        trace["user_id"] = json!(user);
        trace["session_id"] = json!(session);
        trace["status"] = json!(status);
        trace["tags"] = json!([tag]);
        trace["started_at"] = json!(format!("2026-01-02T0{hour}:00:00Z"));
        trace["ended_at"] = json!(format!("2026-01-02T0{hour}:0{hour}:00Z"));
        local.post("/traces", trace).await;
    }
    local
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_ordered() {
    let local = filled().await;
    for (query, expected) in [
        ("", vec!["gamma", "beta", "Alpha_1"]),
        ("user_id=ada", vec!["gamma", "Alpha_1"]),
        ("session_id=s1&sort_order=asc", vec!["Alpha_1", "beta"]),
        ("status=ERROR", vec!["beta"]),
        ("tags=x", vec!["gamma", "Alpha_1"]),
        ("tags=x&tags=y", vec!["gamma", "beta", "Alpha_1"]),
        ("name=ALPHA_", vec!["Alpha_1"]),
        ("name=%25", vec![]),
        ("started_after=2026-01-02T02:00:00Z&started_before=2026-01-02T02:00:00%2B00:00", vec!["beta"]),
        ("sort_by=name&sort_order=asc", vec!["Alpha_1", "beta", "gamma"]),
        ("sort_by=latency", vec!["gamma", "beta", "Alpha_1"]),
        ("sort_by=ended_at&sort_order=asc&limit=1&offset=1", vec!["beta"]),
        ("user_id=ada'%20OR%201=1", vec![]),
    ] {
        assert_eq!(names(&local, query).await, expected, "{query}");
    }
    for wrong in ["limit=0", "limit=201", "offset=-1", "status=lost", "sort_by=taste", "started_after=noon"] {
        let answer = local.ask(Method::GET, &format!("/traces?{wrong}"), None).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    for missing in [format!("/traces/{}", Uuid::new_v4()), "/sessions/none".to_owned(), "/nothing".to_owned()]
    {
        let answer = local.ask(Method::GET, &missing, None).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert!(answer.json::<Value>().await.unwrap()["detail"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_see_their_own() {
    let local = filled().await;
    let other = trace("theirs");
    let request = local.http.post(format!("{}/traces", local.server.url())).header("x-project-name", "other");
    request.json(&other).send().await.unwrap();
    assert_eq!(names(&local, "name=theirs").await, [""; 0]);
    // Nor can they be read, changed or judged by those who know an id of theirs.
    let theirs = id(&other);
    let span = other["spans"][0]["span_id"].as_str().unwrap();
    let score = json!({"trace_id": theirs, "name": "n", "value": "1"});
    let posted = local.http.post(format!("{}/evaluations/trace-scores", local.server.url())).json(&score);
    let posted: Value = posted.send().await.unwrap().json().await.unwrap();
    let score_path = format!("/evaluations/trace-scores/{}", posted["id"].as_str().unwrap());
    let path = format!("/traces/{theirs}");
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::DELETE, path.clone(), None),
        (Method::PATCH, path.clone(), Some(json!({"name": "ours"}))),
        (Method::POST, format!("{path}/spans"), Some(json!([{"name": "s", "started_at": "2026-01-01"}]))),
        (Method::PATCH, format!("{path}/spans/{span}"), Some(json!({"name": "ours"}))),
        (Method::POST, "/evaluations/trace-scores".to_owned(), Some(score)),
        (Method::PATCH, score_path.clone(), Some(json!({"value": "0"}))),
        (Method::DELETE, score_path, None),
    ] {
        let answer = local.ask(method.clone(), &path, body).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    let batch = json!({"trace_ids": [theirs], "add_tags": ["ours"]});
    assert_eq!(local.post("/traces/batch/tags", batch.clone()).await["updated"], 0);
    assert_eq!(local.post("/traces/batch/delete", batch).await["deleted"], 0);
    assert_eq!(
        local.get(&format!("/evaluations/trace-scores/{theirs}"), "[TraceScoreResponse]").await,
        json!([])
    );
    let scores = local.get("/evaluations/trace-scores", "PaginatedResponse_TraceScoreResponse_").await;
    assert_eq!(scores["total"], 0);
    assert_eq!(local.send(Method::POST, "/traces", other.clone()).await.0, StatusCode::CONFLICT);
    // A session of both: each sees its own part.
    let mut shared = trace("part");
    shared["session_id"] = json!("s1");
    shared["user_id"] = json!("mallory");
    shared["tags"] = json!(["theirs"]);
    shared["started_at"] = json!("2020-01-01");
    let request = local.http.post(format!("{}/traces", local.server.url())).header("x-project-name", "other");
    request.json(&shared).send().await.unwrap();
    let listed = local.get("/sessions?query=s1", "PaginatedResponse_SessionSummary_").await;
    let session = &listed["items"][0];
    assert_eq!((&session["user_id"], &session["tags"]), (&json!("ada"), &json!(["x", "y"])));
    assert_eq!(session["trace_count"], 2);
    let listed = local.get("/sessions?query=s1&user_id=bob", "PaginatedResponse_SessionSummary_").await;
    assert_eq!(listed["items"][0]["user_id"], "bob");

    // Who names no project sees all.
    let all = local.http.get(format!("{}/traces?limit=200", local.server.url())).send().await.unwrap();
    let all: Value = all.json().await.unwrap();
    assert_eq!(all["total"], 5);
    let untouched = local.http.get(format!("{}/traces/{theirs}", local.server.url())).send().await.unwrap();
    let untouched: Value = untouched.json().await.unwrap();
    assert_eq!((&untouched["name"], &untouched["tags"]), (&json!("theirs"), &json!(["a", "b"])));

    for name in ["München", "a/b", "-a", "a@b", &"p".repeat(256)] {
        for method in [Method::GET, Method::POST] {
            let request = local.http.request(method, format!("{}/traces", local.server.url()));
            let request = request.header("x-project-name", name.as_bytes()).json(&trace("t"));
            assert_eq!(request.send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_read_in_parts() {
    let local = Local::start();
    for turn in 0..60 {
        local.post("/traces", trace(&format!("turn {turn}"))).await;
    }
    for (query, length) in [("", 60), ("?limit=1000", 60), ("?limit=7&offset=55", 5)] {
        let session = local.get(&format!("/sessions/session-1{query}"), "SessionDetail").await;
        assert_eq!(session["traces"].as_array().unwrap().len(), length, "{query}");
    }
    for wrong in [
        "/sessions/session-1?limit=1001",
        "/sessions?sort_by=taste",
        "/sessions?has_error=perhaps",
        "/evaluations/trace-scores?source=rumour",
        "/evaluations/trace-scores?data_type=mood",
    ] {
        let answer = local.ask(Method::GET, wrong, None).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    for (flag, sessions) in [("1", 1), ("True", 1), ("false", 0), ("0", 0)] {
        let listed =
            local.get(&format!("/sessions?has_error={flag}"), "PaginatedResponse_SessionSummary_").await;
        assert_eq!(listed["total"], 1 - sessions, "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_users() {
    let local = filled().await;
    let sessions = local.get("/sessions", "PaginatedResponse_SessionSummary_").await;
    let ids: Vec<_> =
        sessions["items"].as_array().unwrap().iter().map(|item| item["session_id"].clone()).collect();
    assert_eq!(ids, [json!("s2"), json!("s1")]);
    let s1 = &sessions["items"][1];
    assert_eq!(
        (&s1["trace_count"], &s1["has_error"], &s1["user_id"]),
        (&json!(2), &json!(true), &json!("ada"))
    );
    assert_eq!(
        (&s1["tags"], &s1["total_span_count"], &s1["total_tokens"]),
        (&json!(["x", "y"]), &json!(6), &json!(30))
    );
    assert_eq!(s1["total_latency_ms"], 180_000.0);
    for (query, count) in [
        ("has_error=true", 1),
        ("has_error=false", 1),
        ("user_id=bob", 1),
        ("query=S", 2),
        ("tags=y", 1),
        ("query=none", 0),
    ] {
        let found = local.get(&format!("/sessions?{query}"), "PaginatedResponse_SessionSummary_").await;
        assert_eq!(found["total"], count, "{query}");
    }
    let session = local.get("/sessions/s1", "SessionDetail").await;
    let turns: Vec<_> =
        session["traces"].as_array().unwrap().iter().map(|trace| trace["name"].clone()).collect();
    assert_eq!(turns, [json!("Alpha_1"), json!("beta")]);
    let users = local.get("/traces/users", "PaginatedResponse_UserSummary_").await;
    assert_eq!(users["items"][0]["user_id"], "ada");
    assert_eq!((&users["items"][1]["error_count"], &users["total"]), (&json!(1), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn analytics() {
    let local = filled().await;
    let between = "started_after=2026-01-01&started_before=2026-01-03";
    let volume = local
        .get(&format!("/traces/analytics?metric=volume&granularity=hour&{between}"), "[AnalyticsBucket]")
        .await;
    assert_eq!(volume.as_array().unwrap().len(), 3);
    assert_eq!(
        (&volume[1]["bucket"], &volume[1]["error_count"]),
        (&json!("2026-01-02T02:00:00.000000Z"), &json!(1))
    );
    assert_eq!(volume[1]["p99_latency_ms"], 120_000.0);
    let day = local.get(&format!("/traces/analytics?metric=latency&{between}"), "[AnalyticsBucket]").await;
    assert_eq!((&day[0]["trace_count"], &day[0]["p50_latency_ms"]), (&json!(3), &json!(120_000.0)));
    let week = local
        .get(&format!("/traces/analytics?metric=tokens&granularity=week&{between}"), "[TokenCostBucket]")
        .await;
    assert_eq!(
        (&week[0]["bucket"], &week[0]["total_tokens"]),
        (&json!("2025-12-29T00:00:00.000000Z"), &json!(45))
    );
    let models = local.get(&format!("/traces/analytics?metric=models&{between}"), "[TopModel]").await;
    assert_eq!((&models[0]["model"], &models[0]["call_count"]), (&json!("gpt-4o-mini"), &json!(3)));
    let sessions = local.get(&format!("/sessions/analytics?{between}"), "[SessionAnalyticsBucket]").await;
    assert_eq!(sessions[0]["session_count"], 2);
    for wrong in ["metric=volume", &format!("metric=taste&{between}")] {
        let answer = local.ask(Method::GET, &format!("/traces/analytics?{wrong}"), None).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_as_they_come_also_those_of_other_processes() {
    let local = Local::start();
    let mut events = local.http.get(format!("{}/events", local.server.url())).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut next = async || {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(5), events.chunk()).await;
        let text = String::from_utf8(chunk.unwrap().unwrap().unwrap().to_vec()).unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned();
        serde_json::from_str::<Value>(&data).unwrap()
    };
    let first = trace("first");
    local.post("/traces", first.clone()).await;
    let told = next().await;
    assert_eq!((id(&told[0]), &told[0]["name"]), (id(&first), &json!("first")));
    // As an exporter that writes into the file.
    let elsewhere = pandaprobe_local::Store::open(local.folder.0.join("traces.db")).unwrap();
    let second = pandaprobe_local::wire::parse(trace("second").to_string().as_bytes()).unwrap();
    elsewhere.post_trace("tests".to_owned(), second).await.unwrap();
    assert_eq!(next().await[0]["name"], "second");
    // A score changes its trace; what is removed is told without a trace.
    let score = json!({"trace_id": id(&first), "name": "n", "value": "1"});
    let score = local.post("/evaluations/trace-scores", score).await;
    assert_eq!(next().await[0]["name"], "first");
    let path = format!("/evaluations/trace-scores/{}", score["id"].as_str().unwrap());
    local.ask(Method::DELETE, &path, None).await;
    assert_eq!(next().await[0]["name"], "first");
    local.ask(Method::DELETE, &format!("/traces/{}", id(&first)), None).await;
    assert_eq!(next().await, json!([]));
}
