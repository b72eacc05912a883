//! What was accepted is there.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use pandaprobe_local::{
    LocalServer, Order, Retention, ServerConfig, SortBy, Store, StoreError, TraceFilter, time::Micros, wire,
};
use serde_json::Value;

use crate::kit::{Folder, Local, trace};

fn count(store: &Store) -> i64 {
    store.traces(&TraceFilter::default(), SortBy::StartedAt, Order::Desc, (1, 0)).unwrap().total
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_survives_a_kill_of_the_process() {
    let folder = Folder::new();
    let path = folder.0.join("traces.db");
    let mut server = Command::new(env!("CARGO_BIN_EXE_pandaprobe-local"))
        .args(["--store", path.to_str().unwrap(), "serve", "--port", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(server.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let url = said["url"].as_str().unwrap().to_owned();
    let http = reqwest::Client::new();
    let accepted = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (http, url, accepted) = (http.clone(), url.clone(), Arc::clone(&accepted));
            tokio::spawn(async move {
                while let Ok(answer) = http.post(format!("{url}/traces")).json(&trace("t")).send().await {
                    assert_eq!(answer.status(), 202);
                    accepted.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(30);
    while accepted.load(Relaxed) < 200 {
        assert!(Instant::now() < until && server.try_wait().unwrap().is_none(), "the server does not serve");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.kill().unwrap();
    server.wait().unwrap();
    for sender in senders {
        sender.await.unwrap();
    }
    let stored = count(&Store::open(&path).unwrap());
    assert!(
        stored >= i64::try_from(accepted.load(Relaxed)).unwrap(),
        "{stored} of {}",
        accepted.load(Relaxed)
    );
}

fn parsed(trace: &Value) -> wire::TraceIn {
    wire::parse(trace.to_string().as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_or_too_much_goes_the_oldest_first() {
    let folder = Folder::new();
    let store = Store::open(folder.0.join("traces.db")).unwrap();
    for day in 1..=20 {
        let mut trace = trace(&format!("day {day}"));
        trace["started_at"] = format!("2026-01-{day:02}T00:00:00Z").into();
        trace["input"] = "x".repeat(100_000).into();
        store.post_trace("p".to_owned(), parsed(&trace)).await.unwrap();
    }
    let before = store.bytes().unwrap();
    let max_bytes = Some(1_000_000);
    let pruned = store.prune(Retention { max_bytes, ..Retention::default() }).await.unwrap();
    assert_eq!(pruned.traces, 11);
    assert!(store.bytes().unwrap() < before / 2 + before / 8, "{before} {}", store.bytes().unwrap());
    let left = store.traces(&TraceFilter::default(), SortBy::StartedAt, Order::Asc, (1, 0)).unwrap();
    assert_eq!((left.total, left.items[0].name.as_str()), (9, "day 12"));
    let max_age = Some(Duration::from_secs(3600));
    assert_eq!(store.prune(Retention { max_age, ..Retention::default() }).await.unwrap().traces, 9);
    assert_eq!(count(&store), 0);
    // All that is long counts, in bytes.
    for field in ["input", "output", "metadata", "error", "model_parameters"] {
        let mut long = trace(field);
        long["spans"][0][field] = match field {
            "metadata" | "model_parameters" => serde_json::json!({"long": "é".repeat(100_000)}),
            _ => "é".repeat(100_000).into(),
        };
        store.post_trace("p".to_owned(), parsed(&long)).await.unwrap();
        let kept = store.prune(Retention { max_bytes: Some(210_000), ..Retention::default() }).await.unwrap();
        assert_eq!(kept.traces, 0, "{field}");
        let gone = store.prune(Retention { max_bytes: Some(200_000), ..Retention::default() }).await.unwrap();
        assert_eq!(gone.traces, 1, "{field}");
    }
    // So do scores, when they come and when they change.
    let judged = trace("judged");
    store.post_trace("p".to_owned(), parsed(&judged)).await.unwrap();
    let words = "é".repeat(100_000);
    let score =
        serde_json::json!({"trace_id": judged["trace_id"], "name": "n", "value": "1", "reason": words});
    let score = wire::parse(score.to_string().as_bytes()).unwrap();
    let score = store.post_score(None, score).await.unwrap().unwrap();
    let patch = serde_json::json!({"metadata": {"words": words}}).to_string();
    let most = |bytes| Retention { max_bytes: Some(bytes), ..Retention::default() };
    assert_eq!(store.prune(most(210_000)).await.unwrap().traces, 0);
    store.patch_score(None, score, wire::parse(patch.as_bytes()).unwrap()).await.unwrap().unwrap().unwrap();
    assert_eq!(store.prune(most(410_000)).await.unwrap().traces, 0);
    assert_eq!(store.prune(most(400_000)).await.unwrap().traces, 1);
    // And tags.
    let tagged = trace("tagged");
    store.post_trace("p".to_owned(), parsed(&tagged)).await.unwrap();
    let id = tagged["trace_id"].as_str().unwrap().parse().unwrap();
    store.change_tags(None, vec![id], vec!["é".repeat(100_000)], Vec::new()).await.unwrap();
    assert_eq!(store.prune(most(210_000)).await.unwrap().traces, 0);
    assert_eq!(store.prune(most(200_000)).await.unwrap().traces, 1);
    // Nor is it found by its words.
    let filter = TraceFilter { query: Some("day".to_owned()), ..TraceFilter::default() };
    assert_eq!(store.traces(&filter, SortBy::StartedAt, Order::Asc, (1, 0)).unwrap().total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_space_is_given_back() {
    let folder = Folder::new();
    let store = Store::open(folder.0.join("traces.db")).unwrap();
    for _ in 0..10 {
        let mut trace = trace("long");
        trace["input"] = "x".repeat(5 << 20).into();
        store.post_trace("p".to_owned(), parsed(&trace)).await.unwrap();
    }
    assert!(store.bytes().unwrap() > 50 << 20);
    store.prune(Retention { max_bytes: Some(0), ..Retention::default() }).await.unwrap();
    assert!(store.bytes().unwrap() < 1 << 20, "{}", store.bytes().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_removes_what_is_not_to_be_kept() {
    let local = Local::start();
    let path = local.folder.0.join("traces.db");
    let mut recent = trace("recent");
    recent["started_at"] = Micros::now().to_string().into();
    local.post("/traces", trace("old")).await;
    local.post("/traces", recent).await;
    let retention = Retention { max_age: Some(Duration::from_secs(3_600)), max_bytes: None };
    let other = LocalServer::start_with(ServerConfig::new(&path).port(0).retention(retention)).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while count(other.store()) != 1 {
        assert!(Instant::now() < until, "the old trace stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = other.store().traces(&TraceFilter::default(), SortBy::StartedAt, Order::Desc, (9, 0)).unwrap();
    assert_eq!(left.items[0].name, "recent");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_in_names_inputs_and_outputs() {
    let folder = Folder::new();
    let store = Store::open(folder.0.join("traces.db")).unwrap();
    store.post_trace("p".to_owned(), parsed(&trace("agent"))).await.unwrap();
    let mut other = trace("other");
    other["input"] = "nothing".into();
    store.post_trace("p".to_owned(), parsed(&other)).await.unwrap();
    for (words, found) in [
        ("zurich", 1),
        ("Zürich", 1),
        ("lake", 2),
        ("office zür", 1),
        ("no index", 2),
        ("gpt-4o", 2),
        ("\"", 0),
        ("a OR b", 0),
        ("lake) OR (1", 0),
    ] {
        let filter = TraceFilter { query: Some(words.to_owned()), ..TraceFilter::default() };
        let page = store.traces(&filter, SortBy::StartedAt, Order::Desc, (10, 0)).unwrap();
        assert_eq!(page.total, found, "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_into_one_store() {
    let folder = Folder::new();
    let path = folder.0.join("traces.db");
    let stores = [Store::open(&path).unwrap(), Store::open(&path).unwrap()];
    let writers = stores.map(|store| {
        tokio::spawn(async move {
            for _ in 0..100 {
                store.post_trace("p".to_owned(), parsed(&trace("t"))).await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(count(&Store::open(&path).unwrap()), 200);
}

#[test]
fn what_is_no_store_or_a_newer_one_is_left_alone() {
    let folder = Folder::new();
    let path = folder.0.join("notes.txt");
    std::fs::write(&path, "my notes, which are no database at all and should stay as they are").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Sqlite(_))));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("my notes"));
    let path = folder.0.join("newer.db");
    drop(Store::open(&path).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    assert!(matches!(Store::open(&path), Err(StoreError::Newer { version: 99, .. })));
}
