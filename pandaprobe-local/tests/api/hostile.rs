//! Bodies and numbers that nobody sends in good faith, and files that go away.

use std::time::{Duration, Instant};

use pandaprobe_local::{LocalServer, ServerConfig, Store, StoreError, TraceFilter, wire};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::kit::{Folder, Local, id, trace};

#[tokio::test(flavor = "multi_thread")]
async fn no_depth_in_any_field_ends_the_server() {
    let local = Local::start();
    let known = trace("known");
    local.post("/traces", known.clone()).await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let span = &known["spans"][0];
    let score = json!({"trace_id": id(&known), "name": "n", "value": "1", "reason": "r", "metadata": {},
        "source": "ANNOTATION", "data_type": "NUMERIC"});
    let bodies = [
        (Method::POST, "/traces".to_owned(), known.clone()),
        (Method::PATCH, format!("/traces/{}", id(&known)), known.clone()),
        (
            Method::PATCH,
            format!("/traces/{}/spans/{}", id(&known), span["span_id"].as_str().unwrap()),
            span.clone(),
        ),
        (Method::POST, "/evaluations/trace-scores".to_owned(), score),
        (
            Method::POST,
            "/traces/batch/tags".to_owned(),
            json!({"trace_ids": [id(&known)], "add_tags": ["x"]}),
        ),
    ];
    for (method, path, body) in bodies {
        let mut fields: Vec<String> = body.as_object().unwrap().keys().cloned().collect();
        fields.push("unknown".to_owned());
        for field in fields {
            for nest in [deep("[", "]"), format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000))] {
                let mut body = body.clone();
                body[&field] = json!("PLACE");
                let body = body.to_string().replace("\"PLACE\"", &nest);
                let request = local.http.request(method.clone(), format!("{}{path}", local.server.url()));
                let answer = request.header("x-project-name", "tests").body(body).send().await.unwrap();
                assert!(answer.status().as_u16() < 500, "{path} {field}: {}", answer.status());
            }
        }
        let answer = local.ask(Method::GET, "/health", None).await;
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({"status": "ok"}), "{path}");
    }
    for whole in [deep("[", "]"), deep("{\"a\":[", "]}")] {
        let request = local.http.post(format!("{}/traces", local.server.url())).body(whole);
        assert!(request.send().await.unwrap().status().is_client_error());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_breaks_what_adds_numbers_up() {
    let local = Local::start();
    for n in 0..40 {
        let mut far = trace("far");
        far["started_at"] = json!("0001-01-01");
        far["ended_at"] = json!("9999-12-30");
        let cost = if n % 2 == 0 { 1.7e308 } else { -1.7e308 };
        for span in far["spans"].as_array_mut().unwrap() {
            span["cost"] = json!({"total": cost});
            span["token_usage"] = json!({"prompt_tokens": u32::MAX, "completion_tokens": -1});
        }
        local.post("/traces", far).await;
    }
    let between = "started_after=0001-01-01&started_before=9999-12-30&granularity=week";
    for path in [
        "/traces?sort_by=latency",
        "/sessions",
        "/sessions?sort_by=latency",
        "/sessions?sort_by=cost",
        "/sessions/session-1",
        "/traces/users",
        "/ui/traces",
        "/ui/sessions",
        "/ui/users",
        "/ui/overview",
        "/ui/session?id=session-1",
        "/ui/user?id=ada",
        &format!("/traces/analytics?metric=cost&{between}"),
        &format!("/traces/analytics?metric=models&{between}"),
        &format!("/traces/analytics?metric=latency&{between}"),
        &format!("/sessions/analytics?{between}"),
        &format!("/traces?name={}", "n".repeat(60_000)),
        &format!("/sessions?query={}", "n".repeat(60_000)),
    ] {
        let answer = local.ask(Method::GET, path, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let session = local.get("/sessions", "PaginatedResponse_SessionSummary_").await;
    assert_eq!(session["items"][0]["total_cost"], 0.0, "what no sum can be counted on is not counted");
    assert!(session["items"][0]["total_latency_ms"].as_f64().unwrap() > 1e16);
    for year in ["-000001-01-01", "-009999-01-02T00:00:00Z", "10000-01-01"] {
        let mut trace = trace("t");
        trace["started_at"] = json!(year);
        assert_eq!(
            local.send(Method::POST, "/traces", trace).await.0,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{year}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_wait_for_room_and_short_ones_do_not() {
    let local = Local::start();
    let mut stalled = tokio::net::TcpStream::connect(local.server.address()).await.unwrap();
    let head = format!(
        "POST /traces HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{{",
        local.server.address(),
        pandaprobe_local::MAX_BODY_BYTES
    );
    stalled.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    local.post("/traces", trace("short")).await;
    let mut long = trace("long");
    long["input"] = json!("x".repeat(3 << 20));
    let answer = local.ask(Method::POST, "/traces", Some(long.clone())).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    drop(stalled);
    local.post("/traces", long).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_removed_while_it_is_open_is_made_anew() {
    let local = Local::start();
    local.post("/traces", trace("before")).await;
    let path = local.folder.0.join("below/traces.db");
    let other = LocalServer::start_with(ServerConfig::new(&path).port(0)).unwrap();
    let other = Local { server: other, http: reqwest::Client::new(), folder: Folder::new() };
    other.post("/traces", trace("lost")).await;
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let kept = trace("kept");
    other.post("/traces", kept.clone()).await;
    assert_eq!(other.get(&format!("/traces/{}", id(&kept)), "TraceResponse").await["name"], "kept");
    assert_eq!(other.get("/traces", "PaginatedResponse_TraceListItem_").await["total"], 1);
    let seen = Store::open(&path).unwrap();
    let all = seen.traces(&TraceFilter::default(), Default::default(), Default::default(), (9, 0)).unwrap();
    assert_eq!(all.items[0].name, "kept", "another process sees it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_made_says_why_and_reading_goes_on() {
    let folder = Folder::new();
    let path = folder.0.join("traces.db");
    let store = Store::open(&path).unwrap();
    let parsed = |trace: &Value| -> wire::TraceIn { wire::parse(trace.to_string().as_bytes()).unwrap() };
    store.post_trace("tests".to_owned(), parsed(&trace("first"))).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    // Who only looks does not wait for who writes.
    let looking = Store::open(&path).unwrap();
    let all =
        looking.traces(&TraceFilter::default(), Default::default(), Default::default(), (9, 0)).unwrap();
    assert_eq!(all.total, 1);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let failed = store.post_trace("tests".to_owned(), parsed(&trace("second"))).await;
    assert!(matches!(&failed, Err(StoreError::Sqlite(_))), "{failed:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.post_trace("tests".to_owned(), parsed(&trace("second"))).await.unwrap());
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = Folder::new();
    let path = folder.0.join("customers.db");
    let theirs = rusqlite::Connection::open(&path).unwrap();
    theirs.execute_batch("CREATE TABLE customers (name TEXT)").unwrap();
    drop(theirs);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Foreign)));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_of_a_span_may_be_in_two_traces() {
    let local = Local::start();
    let (one, mut other) = (trace("one"), trace("other"));
    other["spans"] = one["spans"].clone();
    other["spans"][0]["name"] = json!("another");
    for trace in [&one, &other] {
        local.post("/traces", trace.clone()).await;
    }
    for (trace, name) in [(&one, "agent"), (&other, "another")] {
        let stored = local.get(&format!("/traces/{}", id(trace)), "TraceResponse").await;
        assert_eq!(stored["spans"].as_array().unwrap().len(), 3);
        assert_eq!(stored["spans"][0]["name"], name);
    }
    let span = one["spans"][0]["span_id"].as_str().unwrap();
    let path = format!("/traces/{}/spans/{span}", id(&other));
    local.send(Method::PATCH, &path, json!({"name": "third"})).await;
    let stored = local.get(&format!("/traces/{}", id(&one)), "TraceResponse").await;
    assert_eq!(stored["spans"][0]["name"], "agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_spans_are_added_in_time_that_grows_with_them() {
    let store_in = Folder::new();
    let store = Store::open(store_in.0.join("traces.db")).unwrap();
    let trace_id = Uuid::new_v4();
    let new = json!({"trace_id": trace_id, "name": "long", "started_at": "2026-01-01"});
    store.post_trace("tests".to_owned(), wire::parse(new.to_string().as_bytes()).unwrap()).await.unwrap();
    let text = "y".repeat(20_000);
    let mut times = Vec::new();
    for _ in 0..30 {
        let spans: Vec<Value> = (0..100)
            .map(|_| json!({"name": "s", "started_at": "2026-01-01", "input": [1, 2, 3], "output": text}))
            .collect();
        let spans = wire::parse(json!(spans).to_string().as_bytes()).unwrap();
        let begun = Instant::now();
        assert!(store.post_spans(None, trace_id, spans).await.unwrap());
        times.push(begun.elapsed());
    }
    let (first, last) = (times[1..6].iter().sum::<Duration>(), times[25..].iter().sum::<Duration>());
    assert!(last < first * 4, "{times:?}");
}
