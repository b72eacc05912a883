//! Whatever a backend does: what it stored and what is counted as dropped is what was recorded.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and tell figures"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pandaprobe::{Client, Config, DropReason, Stats};
use pandaprobe_tests::{
    Directory, Recorded,
    backend::{Answer, Backend},
    free_port, url_at,
};
use serde_json::{Value, json};

const TRACES: usize = 2_000;

fn config(url: &str) -> Config {
    let config = Config::new().api_key("sk_pp_test").project_name("tests").endpoint(url).unwrap();
    config
        .request_timeout(Duration::from_millis(400))
        .rate_limit_window(Duration::from_millis(200))
        .probe_interval(Duration::from_millis(50))
}

/// Records from four threads, each trace under a user of its own.
fn produce(client: &Client) {
    thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for n in (part..TRACES).step_by(4) {
                    let trace = client.trace(format!("trace {n}")).user_id(format!("user {n}")).input("in");
                    trace.run(|trace| trace.span("step").run(|span| span.set_output(json!({"n": n}))));
                    if n % 40 == part {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
    });
}

/// How many traces the backend has, each once and whole, and under its own user.
fn stored(backend: &Backend) -> usize {
    let traces = backend.traces();
    let mut names = BTreeMap::new();
    for trace in &traces {
        let number = trace["name"].as_str().unwrap().strip_prefix("trace ").unwrap();
        assert_eq!(trace["user_id"], format!("user {number}"));
        assert_eq!(trace["spans"][0]["output"], json!({"n": number.parse::<u64>().unwrap()}), "{trace}");
        assert_eq!(names.insert(number.to_owned(), trace["trace_id"].clone()), None, "twice: {trace}");
    }
    traces.len()
}

/// With time enough to deliver: everything arrives but what the script refuses for good.
fn delivers_all(
    name: &str,
    refused: usize,
    script: impl Fn(&Recorded, usize) -> Answer + Send + Sync + 'static,
) {
    let backend = Backend::start();
    backend.script_with(script);
    let client = Client::new(config(&backend.url())).unwrap();
    let begun = Instant::now();
    produce(&client);
    // A flush does not wait while the backend denies everything.
    let settled = || client.flush(Duration::from_secs(100)).is_ok();
    while !settled() && begun.elapsed() < Duration::from_secs(100) {
        thread::sleep(Duration::from_millis(20));
    }
    client.shutdown(Duration::from_secs(1)).unwrap();
    let (stored, stats) = (stored(&backend), client.stats());
    println!(
        "{name}: {stored} stored, {} dropped, {} attempts repeated, {:?}",
        stats.dropped_total(),
        stats.retried,
        begun.elapsed()
    );
    assert_eq!(stored + refused, TRACES, "{name}: {stats:?}");
    assert_eq!(dropped(&stats, DropReason::Rejected), refused, "{name}: {stats:?}");
    assert_eq!(stats.dropped_total(), refused as u64, "{name}: {stats:?}");
}

fn dropped(stats: &Stats, reason: DropReason) -> usize {
    usize::try_from(stats.dropped.get(&reason).copied().unwrap_or_default()).unwrap()
}

fn number(request: &Recorded) -> usize {
    let name = request.json.as_ref().and_then(|body| body["name"].as_str()).unwrap_or_default();
    name.trim_start_matches("trace ").parse().unwrap_or_default()
}

#[test]
fn a_backend_that_is_well() {
    delivers_all("well", 0, |_, _| Answer::Normal);
}

#[test]
fn one_that_is_not_there_yet() {
    let port = free_port();
    let client = Client::new(config(&url_at(port))).unwrap();
    produce(&client);
    assert!(client.flush(Duration::from_millis(300)).is_err());
    let backend = Backend::start_at(port);
    client.flush(Duration::from_secs(100)).unwrap();
    assert_eq!((stored(&backend), client.stats().dropped_total()), (TRACES, 0));
}

#[test]
fn one_that_resets_connections() {
    delivers_all("resets", 0, |_, nth| if nth % 7 == 3 { Answer::Reset } else { Answer::Normal });
}

#[test]
fn one_that_hangs_now_and_then() {
    delivers_all("hangs", 0, |_, nth| if nth % 250 == 9 { Answer::Hang } else { Answer::Normal });
}

#[test]
fn one_that_is_slow() {
    delivers_all("slow", 0, |_, nth| Answer::Slow(Duration::from_millis((nth % 10) as u64)));
}

#[test]
fn one_that_stores_and_loses_its_answers() {
    delivers_all(
        "lost answers",
        0,
        |_, nth| if nth % 9 == 4 { Answer::StoreThenReset } else { Answer::Normal },
    );
}

#[test]
fn one_whose_500_closes_the_connection() {
    delivers_all("500", 0, |_, nth| if nth % 11 == 5 { Answer::internal_error() } else { Answer::Normal });
}

#[test]
fn one_that_is_overloaded_in_many_ways() {
    delivers_all("overloaded", 0, |_, nth| match nth % 40 {
        n @ 0..5 => Answer::status([408, 425, 502, 503, 504][n]),
        7 => Answer::status(503).header("retry-after", "0"),
        8 => Answer::status(503).header("retry-after", "0.05"),
        9 => Answer::status(503).header("retry-after", "next week, perhaps"),
        _ => Answer::Normal,
    });
}

#[test]
fn one_that_limits_the_rate() {
    let window: Mutex<(Option<Instant>, usize)> = Mutex::default();
    delivers_all("rate limit", 0, move |_, _| {
        let (began, count) = &mut *window.lock().unwrap();
        if began.is_none_or(|began| began.elapsed() >= Duration::from_millis(200)) {
            (*began, *count) = (Some(Instant::now()), 0);
        }
        *count += 1;
        if *count > 150 { Answer::rate_limited() } else { Answer::Normal }
    });
}

#[test]
fn one_whose_quota_is_used_up_for_a_while() {
    let begun = Instant::now();
    delivers_all("quota", 0, move |_, _| match begun.elapsed().as_millis() {
        300..1_500 => Answer::over_quota(),
        _ => Answer::Normal,
    });
}

#[test]
fn one_that_refuses_the_key_for_a_while() {
    delivers_all("key", 0, |_, nth| match nth {
        100..110 => Answer::json(401, &json!({"detail": "Invalid or revoked API key."})),
        500..520 => Answer::status(403),
        _ => Answer::Normal,
    });
}

#[test]
fn one_that_talks_nonsense() {
    delivers_all("nonsense", 0, |_, nth| match nth % 20 {
        2 => Answer::Garbage,
        3 => Answer::Status { code: 502, headers: Vec::new(), body: vec![0xFF; 100_000] },
        4 => Answer::json(503, &json!([{"error": [1, 2]}, null])),
        _ => Answer::Normal,
    });
}

#[test]
fn one_that_refuses_some_for_good() {
    delivers_all("refusals", TRACES / 20, |request, _| match number(request) % 40 {
        7 => Answer::json(422, &json!({"detail": "Validation error", "errors": []})),
        8 => Answer::status(400),
        _ => Answer::Normal,
    });
}

#[test]
fn one_that_does_all_of_it() {
    delivers_all("storm", 0, |_, nth| {
        // The mixing function of SplitMix64: which request meets what is the same in each run.
        let mut mixed = (nth as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        match (mixed >> 40) % 100 {
            0..3 => Answer::Reset,
            3..5 => Answer::StoreThenReset,
            5..8 => Answer::internal_error(),
            8..10 => Answer::status(503),
            10 => Answer::Garbage,
            11 => Answer::rate_limited(),
            12 => Answer::over_quota(),
            13 => Answer::status(401),
            14 if nth % 5 == 0 => Answer::Hang,
            15..30 => Answer::Slow(Duration::from_millis(2)),
            _ => Answer::Normal,
        }
    });
}

/// Without time to deliver, what is left at the end is counted.
#[test]
fn one_that_dies() {
    for (name, last) in
        [("dies", Answer::Hang), ("breaks", Answer::status(500)), ("denies", Answer::over_quota())]
    {
        let backend = Backend::start();
        let taken = Arc::new(AtomicUsize::new(0));
        backend.script_with(move |_, _| match taken.fetch_add(1, Ordering::Relaxed) {
            0..700 => Answer::Normal,
            _ => last.clone(),
        });
        let client = Client::new(config(&backend.url()).request_timeout(Duration::from_secs(30))).unwrap();
        produce(&client);
        backend.wait_for(700, Duration::from_secs(60));
        let begun = Instant::now();
        let left = client.shutdown(Duration::from_millis(500)).unwrap_err().left;
        assert!(begun.elapsed() < Duration::from_secs(2), "{name}: {:?}", begun.elapsed());
        let (stored, stats) = (stored(&backend), client.stats());
        println!("{name}: {stored} stored, {} dropped", stats.dropped_total());
        assert_eq!((stored, dropped(&stats, DropReason::Shutdown)), (700, TRACES - 700), "{name}: {stats:?}");
        assert_eq!((left, stats.dropped_total()), (1_300, 1_300), "{name}");
    }
}

/// With a spool whatever a dying backend did not take is delivered to the one that comes back, by the next client.
#[test]
fn one_that_dies_and_comes_back() {
    for (name, last) in
        [("hangs", Answer::Hang), ("breaks", Answer::status(500)), ("denies", Answer::over_quota())]
    {
        let dir = Directory::new();
        let backend = Backend::start();
        let taken = Arc::new(AtomicUsize::new(0));
        backend.script_with(move |_, _| match taken.fetch_add(1, Ordering::Relaxed) {
            0..700 => Answer::Normal,
            _ => last.clone(),
        });
        let config = || config(&backend.url()).spool(dir.path());
        let client = Client::new(config()).unwrap();
        produce(&client);
        backend.wait_for(700, Duration::from_secs(60));
        let left = client.shutdown(Duration::from_millis(500)).unwrap_err();
        assert_eq!((left.spooled, client.stats().dropped_total()), (1_300, 0), "{name}: {left:?}");
        assert_eq!(stored(&backend), 700);
        drop(client);
        backend.script([]);
        let client = Client::new(config()).unwrap();
        backend.wait_for(TRACES, Duration::from_secs(60));
        client.flush(Duration::from_secs(60)).unwrap();
        assert_eq!(
            (stored(&backend), client.stats().dropped_total(), client.stats().spooled),
            (TRACES, 0, 0)
        );
        drop(client);
        std::fs::remove_dir(dir.path()).unwrap();
    }
}

/// A key that may send 100 traces a window sends that many, and hardly asks for more.
#[test]
fn a_rate_limit_is_used_to_the_full_and_hardly_overrun() {
    const WINDOW: Duration = Duration::from_secs(1);
    const TRACES: u32 = 1_000;
    const EACH: u32 = 100;
    struct Limiter {
        began: Option<Instant>,
        count: u32,
        asked: u32,
        refused: u32,
    }
    let limiter = Arc::new(Mutex::new(Limiter { began: None, count: 0, asked: 0, refused: 0 }));
    let backend = Backend::start();
    let state = Arc::clone(&limiter);
    backend.script_with(move |_, _| {
        let mut limiter = state.lock().unwrap();
        if limiter.began.is_none_or(|began| began.elapsed() >= WINDOW) {
            (limiter.began, limiter.count) = (Some(Instant::now()), 0);
        }
        limiter.count += 1;
        limiter.asked += u32::from(limiter.refused > 0);
        let refused = limiter.count > EACH;
        limiter.refused += u32::from(refused);
        if refused { Answer::rate_limited() } else { Answer::Normal }
    });
    let client = Client::new(config(&backend.url()).rate_limit_window(WINDOW)).unwrap();
    let begun = Instant::now();
    (0..TRACES).for_each(|n| client.trace(format!("trace {n}")).run(|_| ()));
    client.flush(Duration::from_secs(60)).unwrap();
    let (took, ideal) = (begun.elapsed(), WINDOW * (TRACES / EACH - 1));
    assert_eq!((backend.traces().len(), client.stats().dropped_total()), (1_000, 0));
    let limiter = limiter.lock().unwrap();
    let overrun = f64::from(limiter.refused - 1) / f64::from(limiter.asked);
    println!(
        "{:.3} of the ideal time, {:.1} % refused",
        took.as_secs_f64() / ideal.as_secs_f64(),
        overrun * 100.0
    );
    assert!(took < ideal.mul_f64(1.15), "{took:?}");
    assert!(overrun < 0.05, "{} of {} were refused", limiter.refused, limiter.asked);
}

/// Names of what a backend has of one trace.
fn parts(backend: &Backend, id: &Value) -> Vec<String> {
    let trace = backend.trace(id.as_str().unwrap()).unwrap();
    trace["spans"].as_array().unwrap().iter().map(|span| span["name"].as_str().unwrap().to_owned()).collect()
}

/// What follows a trace waits until that can be read, and comes in order, whatever happens.
#[test]
fn what_follows_a_trace_comes_after_it() {
    let backend = Backend::start();
    backend.visible_after(Duration::from_millis(150));
    backend.script_with(|_, nth| match nth % 10 {
        3 => Answer::Reset,
        6 => Answer::internal_error(),
        _ => Answer::Normal,
    });
    let client = Client::new(config(&backend.url()).live(true)).unwrap();
    let ids: Vec<String> = (0..50)
        .map(|n| {
            client.trace(format!("trace {n}")).run(|trace| {
                (0..5).for_each(|step| trace.span(format!("step {step}")).run(|_| ()));
                client.score(trace.id(), "early", true);
                trace.set_output("done");
                trace.id().unwrap().to_string()
            })
        })
        .collect();
    client.flush(Duration::from_secs(100)).unwrap();
    for id in &ids {
        let trace = backend.trace(id).unwrap();
        assert_eq!((&trace["status"], &trace["output"]), (&json!("COMPLETED"), &json!("done")));
        assert_eq!(parts(&backend, &json!(id)), (0..5).map(|n| format!("step {n}")).collect::<Vec<_>>());
    }
    let scored: std::collections::BTreeSet<String> =
        backend.scores().iter().map(|score| score["trace_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((scored.len(), client.stats().dropped_total()), (50, 0));
}
