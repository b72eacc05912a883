//! What changes the store.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Local, check, id, trace};

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_comes_back_as_it_was_sent() {
    let local = Local::start();
    let sent = trace("agent");
    let (status, accepted) = local.send(Method::POST, "/traces", sent.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    check("TraceAccepted", &accepted);
    let stored = local.get(&format!("/traces/{}", id(&sent)), "TraceResponse").await;
    for field in [
        "trace_id",
        "name",
        "status",
        "started_at",
        "ended_at",
        "session_id",
        "user_id",
        "environment",
        "release",
        "metadata",
        "input",
        "output",
    ] {
        assert_eq!(stored[field], sent[field], "{field}");
    }
    assert_eq!(stored["tags"], json!(["a", "b"]));
    for (stored, sent) in stored["spans"].as_array().unwrap().iter().zip(sent["spans"].as_array().unwrap()) {
        for (field, value) in sent.as_object().unwrap() {
            assert_eq!(&stored[field], value, "{field}");
        }
    }
    let model = &stored["spans"][1];
    assert_eq!((&model["latency_ms"], &model["time_to_first_token_ms"]), (&json!(1000.0), &json!(250.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_absent_stays_and_the_rest_is_added() {
    let local = Local::start();
    let first = trace("before");
    local.post("/traces", first.clone()).await;
    let span = first["spans"][1]["span_id"].clone();
    let again = json!({
        "trace_id": first["trace_id"], "name": "after", "started_at": "2026-01-02T03:04:05Z",
        "metadata": {"k": "new", "more": null}, "tags": ["c"],
        "spans": [{"span_id": span, "name": "asked", "started_at": "2026-01-02T03:04:05Z", "output": "yes"}],
    });
    local.post("/traces", again).await;
    let stored = local.get(&format!("/traces/{}", id(&first)), "TraceResponse").await;
    assert_eq!(
        (&stored["name"], &stored["status"], &stored["input"]),
        (&json!("after"), &json!("COMPLETED"), &first["input"])
    );
    assert_eq!(stored["metadata"], json!({"k": "new", "deep": {"x": 1}, "more": null}));
    assert_eq!(stored["tags"], json!(["a", "b", "c"]));
    let spans = stored["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 3);
    let model = spans.iter().find(|span| span["name"] == "asked").unwrap();
    assert_eq!(
        (&model["kind"], &model["status"], &model["output"]),
        (&json!("LLM"), &json!("OK"), &json!("yes"))
    );
    assert_eq!(model["token_usage"], first["spans"][1]["token_usage"]);
    assert_eq!(model["parent_span_id"], first["spans"][0]["span_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_spans_add_up_to_is_what_they_say_last() {
    let local = Local::start();
    let mut sent = trace("t");
    for (cost, total) in [
        (json!({"total": 1.0}), 1.0),
        (json!({"input": 0.2}), 0.0),
        (json!({"total": 2.5}), 2.5),
        (json!({"total": 1e300}), 0.0),
        (json!({"total": -3.0}), -3.0),
        (Value::Null, -3.0),
    ] {
        sent["spans"][1]["cost"] = cost.clone();
        local.post("/traces", sent.clone()).await;
        let listed = local.get("/traces", "PaginatedResponse_TraceListItem_").await;
        assert_eq!(listed["items"][0]["total_cost"], total, "{cost}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_follow_and_patches_change_what_they_name() {
    let local = Local::start();
    let sent = trace("t");
    let path = format!("/traces/{}", id(&sent));
    let late = json!([{"span_id": Uuid::new_v4(), "name": "late", "started_at": "2026-01-02T03:04:07Z"}]);
    let (status, _) = local.send(Method::POST, &format!("{path}/spans"), late.clone()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    local.post("/traces", sent.clone()).await;
    let (status, accepted) = local.send(Method::POST, &format!("{path}/spans"), late.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    check("SpansAccepted", &accepted);
    assert_eq!(accepted["span_ids"], json!([late[0]["span_id"]]));

    let patch =
        json!({"status": "ERROR", "user_id": null, "output": null, "tags": ["z"], "metadata": {"k": 2}});
    let (status, patched) = local.send(Method::PATCH, &path, patch).await;
    assert_eq!(status, StatusCode::OK);
    check("TraceResponse", &patched);
    assert_eq!(
        (&patched["status"], &patched["user_id"], &patched["output"]),
        (&json!("ERROR"), &Value::Null, &Value::Null)
    );
    assert_eq!((&patched["tags"], &patched["session_id"]), (&json!(["z"]), &json!("session-1")));
    assert_eq!(patched["metadata"], json!({"k": 2, "deep": {"x": 1}}));

    let span = format!("{path}/spans/{}", late[0]["span_id"].as_str().unwrap());
    let patch = json!({"status": "OK", "kind": "LLM", "ended_at": "2026-01-02T03:04:08Z", "token_usage": {"prompt_tokens": 100}, "cost": {"total": 1.5}});
    let (status, patched) = local.send(Method::PATCH, &span, patch).await;
    assert_eq!(status, StatusCode::OK);
    check("SpanResponse", &patched);
    assert_eq!((&patched["kind"], &patched["latency_ms"]), (&json!("LLM"), &json!(1000.0)));
    let listed = local.get("/traces", "PaginatedResponse_TraceListItem_").await;
    let row = &listed["items"][0];
    assert_eq!((&row["span_count"], &row["total_tokens"]), (&json!(4), &json!(115)));
    assert!((row["total_cost"].as_f64().unwrap() - 1.503).abs() < 1e-9);
    for missing in [format!("{path}/spans/{}", Uuid::new_v4()), format!("/traces/{}", Uuid::new_v4())] {
        assert_eq!(local.send(Method::PATCH, &missing, json!({})).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_and_tagging() {
    let local = Local::start();
    let traces = ["a", "b", "c"].map(trace);
    for trace in &traces {
        local.post("/traces", trace.clone()).await;
    }
    let ids: Vec<&str> = traces.iter().map(id).collect();
    let tagged = json!({"trace_ids": ids, "add_tags": ["new"], "remove_tags": ["a"]});
    assert_eq!(local.post("/traces/batch/tags", tagged).await, json!({"updated": 3}));
    let listed = local.get("/traces?tags=new&tags=nothing", "PaginatedResponse_TraceListItem_").await;
    assert_eq!((&listed["total"], &listed["items"][0]["tags"]), (&json!(3), &json!(["b", "new"])));
    let deleted = local.ask(Method::DELETE, &format!("/traces/{}", ids[0]), None).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        local.post("/traces/batch/delete", json!({"trace_ids": [ids[0], ids[1]]})).await,
        json!({"deleted": 1})
    );
    let session = local.ask(Method::DELETE, "/sessions/session-1", None).await;
    assert_eq!(session.json::<Value>().await.unwrap(), json!({"deleted": 1}));
    assert_eq!(local.get("/traces", "PaginatedResponse_TraceListItem_").await["total"], 0);
    for gone in [format!("/traces/{}", ids[2]), "/sessions/session-1".to_owned()] {
        assert_eq!(local.ask(Method::DELETE, &gone, None).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_forbids_is_refused_and_changes_nothing() {
    let local = Local::start();
    let with = |field: &str, value: Value| {
        let mut wrong = trace("t");
        match field.split_once('.') {
            Some((_, field)) => wrong["spans"][0][field] = value,
            None => wrong[field] = value,
        }
        wrong
    };
    let many: Vec<Value> = (0..501).map(|_| json!({"name": "s", "started_at": "2026-01-01"})).collect();
    for wrong in [
        with("name", json!("")),
        with("name", json!("x".repeat(513))),
        with("trace_id", json!("42")),
        with("trace_id", Value::Null),
        with("status", json!("completed")),
        with("user_id", json!("x".repeat(256))),
        with("user_id", json!(42)),
        with("started_at", json!("yesterday")),
        with("metadata", Value::Null),
        with("tags", Value::Null),
        with("tags", json!([1])),
        with("spans", Value::Null),
        with("spans", json!(many)),
        with("s.kind", json!("llm")),
        with("s.name", Value::Null),
        with("s.cost", json!({"total": null})),
        with("s.span_id", json!("0123456789abcdef")),
        json!([]),
        json!({"name": "no start"}),
    ] {
        let (status, answer) = local.send(Method::POST, "/traces", wrong.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert_eq!(answer["detail"], "Validation error");
        assert!(answer["errors"][0]["message"].is_string());
    }
    for body in ["", "{", "not json", "{} {}"] {
        let request = local.http.post(format!("{}/traces", local.server.url())).body(body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let path = format!("/traces/{}/spans", Uuid::new_v4());
    assert_eq!(local.send(Method::POST, &path, json!([])).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(local.get("/traces", "PaginatedResponse_TraceListItem_").await["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_values_are_kept() {
    let local = Local::start();
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let body = format!(
        r#"{{"trace_id":"{id}","name":"odd","started_at":1700000000.5,"input":{deep},"output":1e400,
            "metadata":{{"big":123456789012345678901234567890,"nul":"a\u0000b","lone":"\ud800"}},"unknown":1,
            "spans":[{{"name":"s","started_at":"2026-01-01","token_usage":{{"prompt_tokens":1.5,"completion_tokens":"x"}}}}]}}"#,
        id = Uuid::new_v4()
    );
    let request = local.http.post(format!("{}/traces", local.server.url())).body(body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let listed = local.http.get(format!("{}/traces", local.server.url())).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    let row = &listed["items"][0];
    assert_eq!(
        (&row["total_tokens"], &row["started_at"]),
        (&json!(0), &json!("2023-11-14T22:13:20.500000Z"))
    );
    let whole = local.http.get(format!("{}/traces/{}", local.server.url(), id(row))).send().await.unwrap();
    let whole = whole.text().await.unwrap();
    assert!(
        whole.contains(&deep)
            && whole.contains("123456789012345678901234567890")
            && whole.contains(r"\ud800")
    );
}
