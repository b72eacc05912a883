//! `set_user` and `set_session` outside of any scope: worker set-up in `main`. The default is the process's, so
//! this is one test in a process of its own.

use std::{convert::Infallible, time::Duration};

use axum::http::{Request, Response};
use pandaprobe::{Config, MemoryExporter, PandaProbeLayer, ReportKind, set_session, set_user, trace, user};
use tower::{Layer, ServiceExt, service_fn};

#[test]
fn the_default_is_set_on_one_thread_and_reaches_nobody_who_set_another() {
    let kept = MemoryExporter::default();
    let guard = pandaprobe::init(Config::new().exporter(kept.clone())).unwrap();
    let note = |name: &str| trace(name).run(|_| ());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();

    // Each job keeps the default of when it was handed over.
    runtime.block_on(async {
        let mut jobs = Vec::new();
        for name in ["job a", "job b"] {
            set_user(name);
            jobs.push(pandaprobe::spawn(async move { trace(name).run(|_| ()) }));
        }
        set_user("nobody's");
        for job in jobs {
            job.await.unwrap();
        }
    });
    // A copied default is no scope: a spawned step of somebody else's trace stays in it.
    runtime.block_on(pandaprobe::trace("bob's").user_id("bob").scope(|_| async {
        pandaprobe::spawn(pandaprobe::span("spawned step").scope(async {})).await.unwrap();
        pandaprobe::spawn_blocking(|| pandaprobe::span("blocking step").run(|_| ())).await.unwrap();
    }));

    set_user("worker");
    set_session("batch");
    note("main");
    user("explicit").run(|| note("scope"));
    runtime.block_on(async {
        note("block_on");
        let app = PandaProbeLayer::new().layer(service_fn(async |_: Request<()>| {
            trace("request").run(|_| ());
            set_user("bob");
            trace("request that set").run(|_| ());
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
        app.oneshot(Request::new(())).await.unwrap();
        tokio::spawn(async {
            trace("task").run(|_| ());
            set_user("bob");
            trace("task that set").run(|_| ());
        })
        .await
        .unwrap();
    });
    std::thread::spawn(|| {
        set_user("carol");
        trace("thread that set").run(|_| ());
        std::thread::spawn(|| trace("its thread").run(|_| ())).join().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { tokio::spawn(async { trace("its task").run(|_| ()) }).await.unwrap() });
        pandaprobe::Scope::shared().run(|| trace("its call").run(|_| ()));
    })
    .join()
    .unwrap();
    set_user("worker 2");
    note("set again");

    guard.client().flush(Duration::from_secs(5)).unwrap();
    let of = |name: &str| {
        let trace = kept.traces().into_iter().find(|trace| trace.name == name).unwrap();
        (trace.session_id, trace.user_id)
    };
    let is =
        |session: Option<&str>, user: Option<&str>| (session.map(str::to_owned), user.map(str::to_owned));
    assert_eq!(of("task that set"), is(Some("batch"), None), "it wanted to be somebody else");
    for name in ["main", "block_on", "request", "task"] {
        assert_eq!(of(name), is(Some("batch"), Some("worker")), "{name}");
    }
    for name in ["job a", "job b"] {
        assert_eq!(of(name).1.as_deref(), Some(name));
    }
    assert_eq!(of("request that set"), is(Some("batch"), Some("bob")));
    assert_eq!(of("scope"), is(Some("batch"), Some("explicit")));
    assert_eq!(of("thread that set"), is(Some("batch"), None), "neither refused nor somebody else's");
    for name in ["its thread", "its task", "its call"] {
        assert_eq!(of(name).1, None, "{name}");
    }
    let bobs = kept.traces().into_iter().find(|trace| trace.name == "bob's").unwrap();
    assert_eq!((bobs.user_id.as_deref(), bobs.spans.len()), (Some("bob"), 2));
    assert_eq!(of("set again"), is(Some("batch"), Some("worker 2")));
    assert_eq!(guard.client().stats().reports[&ReportKind::IdentityRefused], 2);
}
