//! Scopes, guards, hand-over and what joins which trace.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::StreamExt;
use pandaprobe::{
    InCurrentScope, ReportKind, Scope, metadata, session, set_session, set_user, span, tag,
    testing::{Captured, capture},
    trace, user,
};
use serde_json::json;

fn who<T>(captured: &Captured<T>, name: &str) -> (Option<String>, Option<String>) {
    let trace = captured.trace(name);
    (trace.session_id.clone(), trace.user_id.clone())
}

fn is(session: Option<&str>, user: Option<&str>) -> (Option<String>, Option<String>) {
    (session.map(str::to_owned), user.map(str::to_owned))
}

fn note(name: &str) {
    trace(name).run(|_| ());
}

#[tokio::test]
async fn scopes_nest_and_combine_and_end() {
    let captured = capture(|| async {
        session("s").scope(user("u").scope(async { note("nested expression") })).await;
        session("s")
            .user("outer")
            .scope(async {
                user("inner").scope(async { note("inner") }).await;
                note("outer");
            })
            .await;
        note("after");
        session("s").user("u").run(|| note("closure"));
        {
            let _guard = user("guard").enter();
            note("guarded");
        }
        note("after guard");
        let stream = user("streamer").scope_stream(futures_util::stream::once(async { note("stream") }));
        stream.collect::<Vec<_>>().await;
    })
    .await;
    assert_eq!(who(&captured, "nested expression"), is(Some("s"), Some("u")));
    assert_eq!(who(&captured, "inner"), is(Some("s"), Some("inner")));
    assert_eq!(who(&captured, "outer"), is(Some("s"), Some("outer")));
    assert_eq!(who(&captured, "after"), is(None, None));
    assert_eq!(who(&captured, "closure"), is(Some("s"), Some("u")));
    assert_eq!(who(&captured, "guarded"), is(None, Some("guard")));
    assert_eq!(who(&captured, "after guard"), is(None, None));
    assert_eq!(who(&captured, "stream"), is(None, Some("streamer")));
}

#[tokio::test]
async fn explicit_beats_scope_beats_set() {
    let captured = capture(|| async {
        user("scope")
            .scope(async {
                set_user("set");
                note("set inside");
                tokio::task::yield_now().await;
                note("still set after an await");
                user("inner").scope(async { note("inner scope") }).await;
                trace("explicit").user_id("explicit").run(|_| ());
            })
            .await;
    })
    .await;
    assert_eq!(who(&captured, "set inside").1.as_deref(), Some("set"));
    assert_eq!(who(&captured, "still set after an await").1.as_deref(), Some("set"));
    assert_eq!(who(&captured, "inner scope").1.as_deref(), Some("inner"));
    assert_eq!(who(&captured, "explicit").1.as_deref(), Some("explicit"));
}

#[tokio::test]
async fn a_set_lasts_as_long_as_its_scope() {
    let captured = capture(|| async {
        session("outer")
            .scope(async {
                user("u").scope(async { set_session("inner") }).await;
                note("after the inner scope");
            })
            .await;
    })
    .await;
    assert_eq!(who(&captured, "after the inner scope").0.as_deref(), Some("outer"));
}

#[tokio::test]
async fn an_id_that_is_none_blocks_its_slot_and_is_told() {
    let long = "x".repeat(256);
    let captured = capture(|| async {
        session("s")
            .user("outer")
            .scope(async {
                user("").scope(async { note("empty scope") }).await;
                user(&long).scope(async { note("long scope") }).await;
                trace("empty explicit").user_id("").run(|_| ());
                set_user("");
                note("empty set");
            })
            .await;
    })
    .await;
    for name in ["empty scope", "long scope", "empty explicit", "empty set"] {
        assert_eq!(who(&captured, name), is(Some("s"), None), "{name}");
        let note = captured.trace(name).metadata["pandaprobe.user_id"].as_str().unwrap();
        assert!(note.starts_with("refused"), "{note}");
    }
    assert_eq!(captured.reported(ReportKind::InvalidId), 4);
}

#[tokio::test]
async fn tags_and_metadata_of_scopes_reach_their_traces() {
    let captured = capture(|| async {
        tag("a")
            .metadata("k", "outer")
            .metadata("only", 1)
            .scope(
                metadata("k", "inner").tags(["b"]).scope(async { trace("t").tag("c").tag("a").run(|_| ()) }),
            )
            .await;
    })
    .await;
    let trace = captured.trace("t");
    assert_eq!(trace.tags, ["a", "b", "c"]);
    assert_eq!(json!(trace.metadata), json!({"k": "inner", "only": 1}));
}

#[tokio::test]
async fn hand_over_is_a_copy() {
    let captured = capture(|| async {
        session("s")
            .user("before")
            .scope(async {
                let carried = async {
                    note("carried");
                    set_user("changed there");
                    note("changed there");
                }
                .in_current_scope();
                set_user("changed here");
                tokio::spawn(carried).await.unwrap();
                note("here");
                pandaprobe::spawn(async { note("spawned") }).await.unwrap();
                pandaprobe::spawn_blocking(|| note("blocking")).await.unwrap();
                let scope = Scope::current();
                std::thread::spawn(move || scope.run(|| note("thread"))).join().unwrap();
                tokio::spawn(async { trace("not handed over").run(|_| ()) }).await.unwrap();
            })
            .await;
    })
    .await;
    assert_eq!(who(&captured, "carried").1.as_deref(), Some("before"));
    assert_eq!(who(&captured, "changed there").1.as_deref(), Some("changed there"));
    assert_eq!(who(&captured, "here").1.as_deref(), Some("changed here"));
    for name in ["spawned", "blocking", "thread"] {
        assert_eq!(who(&captured, name), is(Some("s"), Some("changed here")), "{name}");
    }
    assert!(captured.traces.iter().all(|trace| trace.name != "not handed over"));
}

#[tokio::test]
async fn a_span_in_a_spawned_task_is_a_step_of_the_span_that_spawned_it() {
    let captured = capture(|| {
        trace("t").scope(|_| {
            span("parent").scope(async {
                pandaprobe::spawn(span("child").scope(async {})).await.unwrap();
                let (a, b) = (span("a").scope(tokio::task::yield_now()), span("b").scope(async {}));
                tokio::join!(a, b);
            })
        })
    })
    .await;
    let expected =
        "t COMPLETED\n└─ OTHER parent OK\n   ├─ OTHER child OK\n   ├─ OTHER a OK\n   └─ OTHER b OK\n";
    assert_eq!(captured.tree(), expected);
}

/// Polls a future once, here.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_future_keeps_its_identity_whoever_polls_it() {
    let captured = capture(|| async {
        let mut made_by_alice = None;
        session("alice's")
            .scope(async {
                made_by_alice = Some(Box::pin(user("alice").scope(async { note("polled by bob") })))
            })
            .await;
        session("bob's")
            .user("bob")
            .scope(async {
                let mut alices = made_by_alice.take().unwrap();
                assert!(poll_once(alices.as_mut()).is_ready());
                note("bob");
            })
            .await;
    })
    .await;
    assert_eq!(who(&captured, "polled by bob"), is(Some("alice's"), Some("alice")));
    assert_eq!(who(&captured, "bob"), is(Some("bob's"), Some("bob")));
}

#[test]
fn a_guard_held_across_an_await_is_ignored_in_other_tasks_and_reported() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let kept = pandaprobe::MemoryExporter::default();
    let guard = pandaprobe::init(pandaprobe::Config::new().exporter(kept.clone())).unwrap();
    local.block_on(&runtime, async {
        let holder = tokio::task::spawn_local(async {
            let _guard = user("holder").enter();
            tokio::time::sleep(Duration::from_millis(20)).await;
            note("holder");
        });
        let other = tokio::task::spawn_local(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            note("other");
        });
        holder.await.unwrap();
        other.await.unwrap();
    });
    guard.client().flush(Duration::from_secs(5)).unwrap();
    let of = |name: &str| kept.traces().into_iter().find(|trace| trace.name == name).unwrap().user_id;
    assert_eq!(of("holder").as_deref(), Some("holder"));
    assert_eq!(of("other"), None);
    assert!(guard.client().stats().reports[&ReportKind::ForeignGuard] > 0);
}

#[tokio::test]
async fn guards_dropped_out_of_order_remove_only_themselves() {
    let captured = capture(|| async {
        let outer = user("outer").enter();
        let inner = session("inner").enter();
        drop(outer);
        note("inner is left");
        drop(inner);
        note("none is left");
    })
    .await;
    assert_eq!(who(&captured, "inner is left"), is(Some("inner"), Some("outer")));
    assert_eq!(who(&captured, "none is left"), is(None, None));
}

#[tokio::test]
async fn a_trace_learns_its_user_late_but_never_changes_it() {
    let captured = capture(|| async {
        trace("request")
            .scope(|_| async {
                set_user("ada");
                span("step").scope(async {}).await;
            })
            .await;
        trace("by an inner scope").scope(|_| user("ada").scope(span("step").scope(async {}))).await;
        trace("hers")
            .user_id("ada")
            .scope(|_| async {
                span("her step").scope(async {}).await;
                user("bob").scope(span("his step").scope(async {})).await;
            })
            .await;
    })
    .await;
    assert_eq!(who(&captured, "request").1.as_deref(), Some("ada"));
    assert_eq!(who(&captured, "by an inner scope").1.as_deref(), Some("ada"));
    let hers = captured.trace("hers");
    let names: Vec<&str> = hers.spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!((hers.user_id.as_deref(), names), (Some("ada"), vec!["her step"]));
    let his = captured.trace("his step");
    assert_eq!(his.user_id.as_deref(), Some("bob"));
    assert_eq!(his.metadata["pandaprobe.parent_trace_id"], json!(hers.trace_id));
}

#[tokio::test]
async fn an_explicit_trace_is_not_left_by_what_is_inside_of_its_surroundings() {
    let captured = capture(|| async {
        user("scope")
            .scope(trace("explicit").user_id("explicit").scope(|_| async {
                span("step").scope(async {}).await;
                trace("nested").run(|_| ());
            }))
            .await;
    })
    .await;
    assert_eq!(captured.trace("explicit").spans.len(), 1);
    let nested = captured.trace("nested");
    assert_eq!(nested.user_id.as_deref(), Some("scope"), "explicit ids are no scope");
    assert_eq!(nested.metadata["pandaprobe.parent_trace_id"], json!(captured.trace("explicit").trace_id));
}

#[tokio::test]
async fn a_bare_span_without_a_trace_is_nothing() {
    let captured = capture(|| async { span("alone").scope(async { 7 }).await }).await;
    assert_eq!((captured.output, captured.traces.len()), (7, 0));
}

#[tokio::test]
async fn detached_handles_work_from_anywhere() {
    let captured = capture(|| async {
        let trace = trace("t").start();
        let work = trace.clone();
        let step = trace.span("step").start();
        let below = step.clone();
        tokio::spawn(async move { below.span("below").scope(work.scope(async {})).await }).await.unwrap();
        trace.scope(span("ambient").scope(async {})).await;
        step.scope(span("in step").scope(async {})).await;
    })
    .await;
    let expected =
        "t COMPLETED\n├─ OTHER step OK\n│  ├─ OTHER below OK\n│  └─ OTHER in step OK\n└─ OTHER ambient OK\n";
    assert_eq!(captured.tree(), expected);
}

#[tokio::test]
async fn changing_whose_an_open_trace_is_gets_reported_however_it_was_begun() {
    let late = || async { pandaprobe::trace("t").scope(|_| async { set_user("b") }).await };
    let captured = capture(|| user("a").scope(late())).await;
    assert_eq!(captured.reported(ReportKind::IdentityChangedWhileOpen), 1, "by a scope around it");
    let explicit = trace("t").user_id("a").scope(|_| async { set_user("b") });
    let captured = capture(|| explicit).await;
    assert_eq!(captured.reported(ReportKind::IdentityChangedWhileOpen), 1, "by a parameter");
    let captured = capture(|| {
        trace("t").scope(|_| async {
            let branch = |user: &'static str| async move {
                set_user(user);
                tokio::task::yield_now().await;
                span("step").scope(async {}).await;
            };
            tokio::join!(branch("a"), branch("b"));
        })
    })
    .await;
    assert_eq!(captured.reported(ReportKind::IdentityChangedWhileOpen), 1, "by what it learned late");
}

#[tokio::test]
async fn a_detached_trace_learns_its_user_from_the_scope_it_is_entered_in() {
    let captured = capture(|| async {
        let request = trace("request").start();
        user("alice").scope(request.scope(span("hers").scope(async {}))).await;
        user("bob").scope(request.scope(span("his").scope(async {}))).await;
    })
    .await;
    let request = captured.trace("request");
    assert_eq!((request.user_id.as_deref(), request.spans.len()), (Some("alice"), 1));
    assert_eq!(captured.trace("his").user_id.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_trace_that_was_sent_takes_nobody_in() {
    let captured = capture(|| async {
        let anonymous = trace("anonymous").start();
        let handle = anonymous.clone();
        anonymous.end();
        pandaprobe::flush_async(Duration::from_secs(5)).await.unwrap();
        handle.scope(user("alice").scope(span("alice's").scope(async {}))).await;
        handle.scope(span("nobody's").scope(async {})).await;
    })
    .await;
    let anonymous = captured.trace("anonymous");
    assert_eq!((anonymous.user_id.as_deref(), anonymous.spans.len()), (None, 1));
    assert_eq!(captured.trace("alice's").user_id.as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_task_that_spawns_its_successor_for_ever_neither_grows_nor_overflows() {
    fn next(trace: pandaprobe::Trace, left: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if left > 0 {
                let again = trace.clone();
                tokio::spawn(trace.scope(next(again, left - 1))).await.unwrap();
            }
        })
    }
    fn detached(trace: pandaprobe::Trace, left: usize, done: tokio::sync::oneshot::Sender<()>) {
        if left == 0 {
            return drop(done);
        }
        let again = trace.clone();
        tokio::spawn(trace.scope(async move { detached(again, left - 1, done) }));
    }
    let captured = capture(|| async {
        let trace = trace("t").start();
        trace.scope(next(trace.clone(), 50)).await;
        let (done, wait) = tokio::sync::oneshot::channel();
        detached(trace.clone(), 100_000, done);
        let _ = wait.await;
    })
    .await;
    assert_eq!(captured.traces.len(), 1);
}

#[tokio::test]
async fn a_scope_that_is_spawned_as_it_is_written_keeps_its_own_identity() {
    let captured = capture(|| async {
        user("alice")
            .session("alice's")
            .scope(async {
                tokio::spawn(user("bob").scope(trace("spawned").scope(|_| async {}))).await.unwrap();
                pandaprobe::spawn(user("bob").scope(trace("handed over").scope(|_| async {}))).await.unwrap();
                let three =
                    user("bob").scope(session("bob's").scope(trace("three layers").scope(|_| async {})));
                tokio::spawn(three).await.unwrap();
                let elsewhere = user("bob").scope(trace("other thread").scope(|_| async {}));
                let run =
                    || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(elsewhere);
                std::thread::scope(|threads| threads.spawn(run).join().unwrap());
                let late = trace("set there").scope(|_| async {});
                let setting = async {
                    set_user("bob");
                    late.await;
                };
                pandaprobe::spawn(setting).await.unwrap();
            })
            .await;
    })
    .await;
    for name in ["spawned", "handed over", "three layers", "other thread", "set there"] {
        assert_eq!(who(&captured, name).1.as_deref(), Some("bob"), "{name}");
    }
    assert_eq!(who(&captured, "three layers").0.as_deref(), Some("bob's"));
}

#[tokio::test]
async fn a_step_of_another_user_stays_with_the_client_of_its_trace() {
    let kept = pandaprobe::MemoryExporter::default();
    let client = pandaprobe::Client::new(pandaprobe::Config::new().exporter(kept.clone())).unwrap();
    client.trace("t").user_id("bob").scope(|_| user("eve").scope(span("eve's").scope(async {}))).await;
    client.shutdown(Duration::from_secs(5)).unwrap();
    let eves = kept.traces().into_iter().find(|trace| trace.name == "eve's").expect("it is recorded");
    assert_eq!(eves.user_id.as_deref(), Some("eve"));
}

#[tokio::test]
async fn a_span_of_a_handle_in_another_users_scope_is_that_users() {
    let captured = capture(|| async {
        let hers = trace("hers").user_id("alice").start();
        user("bob").scope(async { hers.span("bob's").start().end() }).await;
        hers.span("alice's").start().end();
    })
    .await;
    assert_eq!(captured.trace("hers").spans.len(), 1);
    assert_eq!(captured.trace("bob's").user_id.as_deref(), Some("bob"));
}

#[tokio::test]
async fn an_open_scope_is_the_same_each_time_it_is_entered() {
    let captured = capture(|| async {
        let request = session("s").open();
        request.run(|| note("before"));
        request.run(|| set_user("ada"));
        let root = request.run(|| trace("root").start());
        let inside = request.run(|| root.open_scope());
        inside.run(|| span("step").run(|_| ()));
        let elsewhere = std::thread::spawn(move || inside.run(|| note("on another thread")));
        elsewhere.join().unwrap();
        root.unread();
        request.run(|| trace("broken").start()).panicked(Some("trouble".to_owned()));
        note("outside");
    })
    .await;
    assert_eq!(who(&captured, "before"), is(Some("s"), None));
    assert_eq!(who(&captured, "on another thread"), is(Some("s"), Some("ada")));
    assert_eq!(who(&captured, "outside"), is(None, None));
    let root = captured.trace("root");
    assert_eq!((root.spans.len(), &root.metadata["pandaprobe.end"]), (1, &json!("stopped_by_reader")));
    assert_eq!(captured.trace("broken").metadata["pandaprobe.error"], "panicked: trouble");
}
