//! Scores.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Local, check, id, trace};

#[tokio::test(flavor = "multi_thread")]
async fn scores_of_a_trace() {
    let local = Local::start();
    let sent = trace("t");
    let score = |name: &str, value: &str, kind: &str| json!({"trace_id": sent["trace_id"], "name": name, "value": value, "data_type": kind, "source": "PROGRAMMATIC"});
    let path = "/evaluations/trace-scores";
    assert_eq!(local.send(Method::POST, path, score("early", "1", "NUMERIC")).await.0, StatusCode::NOT_FOUND);
    local.post("/traces", sent.clone()).await;
    for (name, value, kind) in [
        ("quality", "0.2", "NUMERIC"),
        ("quality", "0.6", "NUMERIC"),
        ("ok", "True", "BOOLEAN"),
        ("mood", "", "CATEGORICAL"),
    ] {
        let (status, stored) = local.send(Method::POST, path, score(name, value, kind)).await;
        assert_eq!(status, StatusCode::CREATED);
        check("TraceScoreResponse", &stored);
        assert_eq!((&stored["value"], &stored["environment"]), (&json!(value), &json!("test")));
    }
    for wrong in [
        score("q", "1.01", "NUMERIC"),
        score("q", "NaN", "NUMERIC"),
        score("q", "1", "BOOLEAN"),
        score("q", "1", "GUESS"),
    ] {
        assert_eq!(local.send(Method::POST, path, wrong).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let number = json!({"trace_id": sent["trace_id"], "name": "q", "value": 1});
    assert_eq!(local.send(Method::POST, path, number).await.0, StatusCode::UNPROCESSABLE_ENTITY);

    let latest = local.get(&format!("{path}/{}", id(&sent)), "[TraceScoreResponse]").await;
    let names: Vec<_> = latest
        .as_array()
        .unwrap()
        .iter()
        .map(|score| (score["name"].clone(), score["value"].clone()))
        .collect();
    assert_eq!(
        names,
        [(json!("mood"), json!("")), (json!("ok"), json!("True")), (json!("quality"), json!("0.6"))]
    );
    let all = local
        .get(&format!("{path}?trace_id={}&name=quality", id(&sent)), "PaginatedResponse_TraceScoreResponse_")
        .await;
    assert_eq!(all["total"], 2);
    let summary = local.get("/evaluations/analytics/trace-scores/summary", "[ScoreSummaryItem]").await;
    let quality = summary.as_array().unwrap().iter().find(|item| item["metric_name"] == "quality").unwrap();
    assert_eq!(
        (&quality["avg_score"], &quality["median_score"], &quality["success_count"]),
        (&json!(0.4), &json!(0.4), &json!(2))
    );

    let one = format!("{path}/{}", latest[2]["id"].as_str().unwrap());
    let (status, patched) = local.send(Method::PATCH, &one, json!({"value": "1", "reason": "better"})).await;
    assert_eq!(status, StatusCode::OK);
    check("TraceScoreResponse", &patched);
    assert_eq!(
        (&patched["value"], &patched["source"], &patched["reason"]),
        (&json!("1"), &json!("ANNOTATION"), &json!("better"))
    );
    assert_eq!(
        local.send(Method::PATCH, &one, json!({"value": "2"})).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(local.ask(Method::DELETE, &one, None).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(local.ask(Method::DELETE, &one, None).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        local.send(Method::PATCH, &format!("{path}/{}", Uuid::new_v4()), json!({})).await.0,
        StatusCode::NOT_FOUND
    );
    // With its trace, its scores go.
    local.ask(Method::DELETE, &format!("/traces/{}", id(&sent)), None).await;
    let left = local.get(path, "PaginatedResponse_TraceScoreResponse_").await;
    assert_eq!(left["items"], Value::Array(vec![]));
}
