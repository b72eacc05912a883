//! What needs no browser: statuses, headers, and what no page may say.

use pandaprobe_local::{LocalServer, ServerConfig};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fill::{Filled, ago, shop};

async fn get(filled: &Filled, path: &str) -> Response {
    Client::new().get(format!("{}{path}", filled.url())).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_to_be_absent() {
    let filled = Filled::new();
    let nobody = "00000000-0000-4000-8000-000000000000";
    for path in [
        "/ui/nothing",
        "/ui/traces/nothing",
        &format!("/ui/traces/{nobody}"),
        &format!("/ui/traces/{nobody}/spans.json"),
        &format!("/ui/traces/{nobody}/spans/{nobody}"),
        &format!("/ui/traces/{nobody}/raw?field=input"),
        "/ui/session",
        "/ui/session?id=nobody",
        "/ui/user?id=nobody",
        "/ui/assets/nothing.js",
        "/ui/assets/..%2Fmod.rs",
    ] {
        let answer = get(&filled, path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert!(answer.text().await.unwrap().starts_with("<!DOCTYPE html>"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_names_a_path_of_this_machine() {
    let filled = Filled::new();
    shop(&filled, 12).await;
    let trace = "/ui/traces/10000000-0000-4000-8000-000000000003";
    let overview = format!("{trace}/overview");
    let spans = format!("{trace}/spans.json");
    let folder = filled.folder.file_name().unwrap().to_str().unwrap();
    for path in [
        "/",
        "/ui/traces",
        "/ui/traces/rows?q=kettle",
        trace,
        &overview,
        &spans,
        "/ui/sessions",
        "/ui/users",
        "/ui/overview",
    ] {
        let answer = get(&filled, path).await;
        assert!(answer.status().is_success(), "{path}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(folder) && !text.contains("traces.db"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_with_the_token_opens_the_viewer() {
    let folder = std::env::temp_dir().join(format!("pandaprobe-browser-{}", Uuid::new_v4()));
    let token = "0123456789abcdef0123";
    let config = ServerConfig::new(folder.join("traces.db")).port(0).token(token);
    let server = LocalServer::start_with(config).unwrap();
    let page = |path: &str| Client::new().get(format!("http://{}{path}", server.address()));
    assert_eq!(page("/ui/traces").send().await.unwrap().status(), 401);
    let opened = page(&format!("/ui/traces?token={token}&sort=cost")).send().await.unwrap();
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    // No link on the page hands the token on.
    assert!(!opened.text().await.unwrap().contains(token));
    for path in ["/ui/traces", "/ui/assets/list.js", "/ui/overview"] {
        assert_eq!(page(path).header("cookie", &cookie).send().await.unwrap().status(), 200, "{path}");
    }
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_until_they_change() {
    let filled = Filled::new();
    for (name, kind) in
        [("style.css", "text/css"), ("trace.js", "text/javascript"), ("icon.svg", "image/svg+xml")]
    {
        let path = format!("/ui/assets/{name}");
        let answer = get(&filled, &path).await;
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(kind));
        let tag = answer.headers()["etag"].clone();
        let again = Client::new()
            .get(format!("{}{path}", filled.url()))
            .header("if-none-match", tag)
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 304, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_session_has_a_page_of_its_own_size() {
    let filled = Filled::new();
    let text = "He said \"<b>&</b>\". ".repeat(9_000);
    let plain = json!(text);
    let messages: Value = (0..20).map(|_| json!({"role": "user", "content": text[..9_000]})).collect();
    let parts: Value = (0..20).map(|_| json!({"type": "text", "text": text[..9_000]})).collect();
    let values = [
        plain,
        json!({"messages": messages}),
        json!([{"role": "user", "content": parts}]),
        json!({"any": messages}),
    ];
    for number in 0..25 {
        let [input, output] = [&values[number % 4], &values[(number + 1) % 4]];
        let turn = json!({"name": format!("turn-{number}"), "session_id": "long", "started_at": ago(5_000 - number as i64), "input": input, "output": output});
        filled.post("/traces", &turn).await;
    }
    let page = get(&filled, "/ui/session?id=long").await.text().await.unwrap();
    assert!(page.len() < 4_000_000, "{}", page.len());
    for number in 0..25 {
        assert!(page.contains(&format!("turn-{number}<")), "{number}");
    }
    // The last has as much as the others.
    let last = page.rsplit("class=\"turn\"").next().unwrap();
    assert!(last.matches("He said").count() > 1_000 && last.contains("There is more"), "{}", last.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_for_a_session_is_in_the_trace() {
    let filled = Filled::new();
    let (trace_id, long) = (Uuid::new_v4(), "0123456789".repeat(100_000));
    let trace = json!({"trace_id": trace_id, "name": "long", "session_id": "long", "started_at": ago(0), "input": long, "output": "short", "metadata": {"any": long}});
    filled.post("/traces", &trace).await;
    let page = get(&filled, "/ui/session?id=long").await.text().await.unwrap();
    assert!(page.len() < 20_000 && page.contains("The input is too long for this page (1.0 MB)"), "{page}");
    assert!(
        page.contains("short") && page.contains(&format!("/ui/traces/{trace_id}/raw?field=input")),
        "{page}"
    );
    let whole = get(&filled, &format!("/ui/traces/{trace_id}/raw?field=input")).await.text().await.unwrap();
    assert_eq!(whole.len(), long.len() + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_come_as_columns() {
    let filled = Filled::new();
    shop(&filled, 1).await;
    let answer = get(&filled, "/ui/traces/10000000-0000-4000-8000-000000000000/spans.json").await;
    let columns: Value = answer.json().await.unwrap();
    assert_eq!(columns["parent"], serde_json::json!([-1, 0, 1, 0, 0, 4, 0]));
    assert_eq!(columns["depth"], serde_json::json!([0, 1, 2, 1, 1, 2, 1]));
    assert_eq!(columns["ids"].as_str().unwrap().len(), 7 * 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_of_a_session_in_two_projects_is_two_sessions() {
    let filled = Filled::new();
    for (project, user) in [("shop", "ada"), ("bank", "bob")] {
        let turn = json!({"name": "turn", "session_id": "s-1", "user_id": user, "started_at": ago(0), "input": format!("{user} asks"), "tags": [project]});
        let post =
            reqwest::Client::new().post(format!("{}/traces", filled.url())).header("x-project-name", project);
        assert_eq!(post.json(&turn).send().await.unwrap().status(), 202);
    }
    let list = get(&filled, "/ui/sessions").await.text().await.unwrap();
    for (project, user, other) in [("shop", "ada", "bob"), ("bank", "bob", "ada")] {
        let address = format!("/ui/session?id=s-1&project={project}");
        assert!(list.contains(&address.replace('&', "&amp;")), "{list}");
        let page = get(&filled, &address).await.text().await.unwrap();
        assert!(page.contains(&format!("{user} asks")) && !page.contains(other), "{page}");
    }
    // Another user's turn in a session says so.
    let guest = json!({"name": "turn", "session_id": "s-1", "user_id": "guest", "started_at": ago(0), "input": "hello"});
    filled.post("/traces", &guest).await;
    let page = get(&filled, "/ui/session?id=s-1&project=shop").await.text().await.unwrap();
    assert_eq!(page.matches("of <a href=\"/ui/user?id=guest&amp;project=shop\"").count(), 1, "{page}");
}
