//! The callback engine: whatever order a framework's events come in.

use std::sync::{Arc, Barrier};

use pandaprobe::{
    Handler, ReportKind, Run, RunId, SpanKind, SpanStatus, TokenUsage, TraceStatus, span,
    testing::{Captured, capture},
    trace,
};
use serde_json::json;

fn chain(name: &str) -> Run {
    Run::new(name, SpanKind::Chain)
}

fn tool(name: &str) -> Run {
    Run::new(name, SpanKind::Tool)
}

fn id(id: &str) -> Option<RunId> {
    Some(id.into())
}

async fn events(f: impl FnOnce(&Handler)) -> Captured<()> {
    capture(|| async { f(&Handler::new().user_id("ada")) }).await
}

#[tokio::test]
async fn runs_become_a_tree_with_the_root_as_the_trace() {
    let captured = events(|handler| {
        handler.started(
            "root",
            None,
            chain("agent").input(json!({"messages": [{"role": "user", "content": "q"}]})),
        );
        handler.started("llm", id("root"), Run::new("ask", SpanKind::Llm).model("m"));
        handler.first_token("llm");
        handler.usage("llm", TokenUsage::new(3, 4));
        handler.ended("llm", Some(json!("tokens")));
        handler.started("tool", id("root"), tool("search"));
        handler.failed("tool", "no index");
        handler.ended("root", Some(json!({"messages": [{"role": "assistant", "content": "a"}]})));
    })
    .await;
    let expected = "agent COMPLETED user=ada\n└─ CHAIN agent OK\n   ├─ LLM ask m 3→4 tokens OK\n   └─ TOOL search ERROR: no index\n";
    assert_eq!(captured.tree(), expected);
    let trace = captured.trace("agent");
    assert_eq!(trace.input, Some(json!({"messages": [{"role": "user", "content": "q"}]})));
    assert_eq!(trace.output, Some(json!({"messages": [{"role": "assistant", "content": "a"}]})));
    assert!(trace.span("ask").unwrap().completion_start_time.is_some());
}

#[tokio::test]
async fn a_failed_root_is_a_failed_trace() {
    let captured = events(|handler| {
        handler.started("root", None, chain("agent"));
        handler.failed("root", "boom");
    })
    .await;
    let trace = captured.trace("agent");
    assert_eq!((trace.status, &trace.metadata["pandaprobe.error"]), (TraceStatus::Error, &json!("boom")));
}

#[tokio::test]
async fn a_child_may_start_and_end_before_its_parent_starts() {
    let captured = events(|handler| {
        handler.started("child", id("parent"), tool("early child"));
        handler.ended("child", None);
        handler.started("parent", None, chain("late parent").input("in"));
        handler.ended("parent", None);
    })
    .await;
    assert_eq!(
        captured.tree(),
        "run COMPLETED user=ada\n└─ CHAIN late parent OK\n   └─ TOOL early child OK\n"
    );
}

#[tokio::test]
async fn an_end_may_come_before_its_start_but_not_for_nothing() {
    let captured = events(|handler| {
        handler.failed("early", "already failed");
        handler.started("root", None, chain("root"));
        handler.started("early", id("root"), tool("early"));
        handler.ended("root", None);
        assert!(handler.span("early").is_none());
    })
    .await;
    let span = captured.trace("root").span("early").unwrap();
    assert_eq!((span.status, span.error.as_deref()), (SpanStatus::Error, Some("already failed")));

    // Ends that never get a start are let go of, oldest first, and counted.
    let captured =
        events(|handler| (0..2_000).for_each(|n| handler.ended(format!("unknown {n}"), None))).await;
    assert_eq!(captured.traces.len(), 0);
    assert_eq!(captured.reported(ReportKind::UnknownRun), 2_000 - 1_024);
}

#[tokio::test]
async fn a_second_start_and_a_second_end_change_nothing() {
    let captured = events(|handler| {
        handler.started("root", None, chain("first"));
        handler.started("root", None, chain("second"));
        handler.ended("root", Some(json!(1)));
        handler.ended("root", Some(json!(2)));
    })
    .await;
    assert_eq!(captured.tree(), "first COMPLETED user=ada\n└─ CHAIN first OK\n");
    assert_eq!(captured.traces[0].output, Some(json!(1)));
    assert_eq!(captured.reported(ReportKind::UnknownRun), 2);
}

#[tokio::test]
async fn clones_for_other_users_share_no_runs_even_with_the_same_ids() {
    let captured = capture(|| async {
        let shared = Handler::new();
        let (alice, bob) = (shared.clone().user_id("alice"), shared.clone().user_id("bob"));
        alice.started("call_0", None, chain("alice's"));
        bob.started("call_0", None, chain("bob's"));
        bob.ended("call_0", Some(json!("bob's secret")));
        alice.ended("call_0", Some(json!("alice's secret")));
        shared.user_id("carol").started("call_0", None, chain("carol's"));
    })
    .await;
    for (name, user, output) in [
        ("alice's", "alice", Some(json!("alice's secret"))),
        ("bob's", "bob", Some(json!("bob's secret"))),
        ("carol's", "carol", None),
    ] {
        let trace = captured.trace(name);
        assert_eq!((trace.user_id.as_deref(), &trace.output), (Some(user), &output));
    }
}

#[tokio::test]
async fn an_id_that_is_used_again_is_a_new_run() {
    let captured = events(|handler| {
        for n in 0..3 {
            handler.started("call_0", None, chain(&format!("run {n}")));
            handler.ended("call_0", Some(json!(n)));
        }
    })
    .await;
    let outputs: Vec<_> = captured.traces.iter().map(|trace| trace.output.clone().unwrap()).collect();
    assert_eq!(outputs, [json!(0), json!(1), json!(2)]);
}

#[tokio::test]
async fn a_child_may_start_after_its_parent_ended() {
    let captured = events(|handler| {
        handler.started("root", None, chain("root"));
        handler.started("agent", id("root"), Run::new("agent", SpanKind::Agent));
        handler.ended("agent", None);
        handler.started("late", id("agent"), tool("late"));
        handler.ended("late", None);
        handler.ended("root", None);
    })
    .await;
    let expected = "root COMPLETED user=ada\n└─ CHAIN root OK\n   └─ AGENT agent OK\n      └─ TOOL late OK\n";
    assert_eq!(captured.tree(), expected);
}

#[tokio::test]
async fn a_callback_may_come_back_to_the_handler() {
    let captured = capture(|| async {
        let handler = Handler::new();
        let again = handler.clone();
        let handler = handler.on_trace(move |_| {
            again.started("from the callback", None, tool("from the callback"));
            again.ended("from the callback", None);
        });
        handler.started("root", None, chain("root"));
        handler.ended("root", None);
    })
    .await;
    assert_eq!(captured.traces.len(), 2);
}

#[test]
fn without_a_client_nothing_is_kept() {
    let client = pandaprobe::Client::new(pandaprobe::Config::new().enabled(false)).unwrap();
    let handler = Handler::new().client(client);
    handler.started("root", None, chain("root"));
    handler.ended("root", Some(json!("x")));
    assert!(handler.span("root").is_none());
}

#[tokio::test]
async fn a_start_without_an_end_rides_along() {
    let captured = events(|handler| {
        handler.started("root", None, chain("root"));
        handler.started("lost", id("root"), tool("lost"));
        handler.ended("root", None);
    })
    .await;
    let trace = captured.trace("root");
    assert_eq!(trace.status, TraceStatus::Completed);
    assert_eq!(trace.span("lost").unwrap().status, SpanStatus::Ok, "its handle was dropped with the handler");
}

#[tokio::test]
async fn a_run_that_is_dropped_half_way_is_cancelled_with_all_below_it() {
    let captured = events(|handler| {
        handler.started("root", None, chain("root"));
        handler.started("agent", id("root"), Run::new("agent", SpanKind::Agent));
        handler.started("tool", id("agent"), tool("tool"));
        handler.started("done", id("agent"), tool("done"));
        handler.ended("done", None);
        handler.dropped("root");
        handler.dropped("root");
    })
    .await;
    let trace = captured.trace("root");
    assert_eq!(
        (trace.status, &trace.metadata["pandaprobe.error"]),
        (TraceStatus::Error, &json!("cancelled"))
    );
    for name in ["root", "agent", "tool"] {
        assert_eq!(trace.span(name).unwrap().error.as_deref(), Some("cancelled"), "{name}");
    }
    assert_eq!(trace.span("done").unwrap().status, SpanStatus::Ok);
}

#[tokio::test]
async fn inside_a_trace_a_run_is_a_part_of_it() {
    let captured = capture(|| async {
        let handler = Handler::new();
        trace("outer")
            .scope(|_| {
                span("step").scope(async {
                    handler.started("root", None, chain("root"));
                    handler.started("tool", id("root"), tool("tool"));
                    handler.ended("tool", None);
                    handler.ended("root", None);
                })
            })
            .await;
    })
    .await;
    assert_eq!(
        captured.tree(),
        "outer COMPLETED\n└─ OTHER step OK\n   └─ CHAIN root OK\n      └─ TOOL tool OK\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_handler_serves_a_hundred_concurrent_runs_of_different_users() {
    let captured = capture(|| async {
        let shared = Handler::new().session_id("s").tags(["all"]);
        let here = pandaprobe::Scope::current();
        let start = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (shared, here, start) = (shared.clone(), here.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    here.run(|| {
                        for n in 0..25 {
                            let user = format!("u{thread}-{n}");
                            let handler = shared.clone().user_id(&user);
                            let (root, below) = (format!("root {user}"), format!("tool {user}"));
                            handler.started(root.as_str(), None, chain("root").input(user.as_str()));
                            handler.started(below.as_str(), id(&root), tool(&user));
                            std::thread::yield_now();
                            handler.ended(below.as_str(), None);
                            handler.ended(root.as_str(), None);
                        }
                    });
                })
            })
            .collect();
        tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()))
            .await
            .unwrap();
    })
    .await;
    assert_eq!(captured.traces.len(), 100);
    for trace in &captured.traces {
        let user = trace.user_id.as_deref().unwrap();
        assert_eq!(trace.input, Some(json!(user)));
        assert_eq!((trace.spans.len(), trace.spans.iter().filter(|span| span.name == user).count()), (2, 1));
        assert_eq!(
            (trace.session_id.as_deref(), trace.tags.as_slice()),
            (Some("s"), ["all".to_owned()].as_slice())
        );
    }
}

#[tokio::test]
async fn a_callback_that_panics_hurts_nobody() {
    let captured = capture(|| async {
        let handler = Handler::new().on_trace(|_| panic!("mine"));
        handler.started("root", None, chain("root"));
        handler.ended("root", None);
    })
    .await;
    assert_eq!(captured.traces.len(), 1);
    assert_eq!(captured.reported(ReportKind::Panicked), 1);
}

#[tokio::test]
async fn one_handler_in_the_scopes_of_two_users_mixes_nothing() {
    let captured = capture(|| async {
        let handler = Handler::new();
        let here = |user: &'static str| pandaprobe::user(user);
        here("alice").run(|| handler.started("1", None, chain("alice's")));
        here("bob").run(|| handler.started("1", None, chain("bob's")));
        here("bob").run(|| handler.started("2", id("1"), tool("bob's tool")));
        here("alice").run(|| handler.started("2", id("1"), tool("alice's tool")));
        // Without a scope nothing says whose it is, and nothing is guessed.
        handler.ended("2", Some(json!("whose?")));
        here("bob").run(|| handler.ended("2", Some(json!("bob's secret"))));
        here("bob").run(|| handler.ended("1", Some(json!("bob's answer"))));
        here("alice").run(|| handler.ended("2", None));
        here("alice").run(|| handler.ended("1", Some(json!("alice's answer"))));
    })
    .await;
    for user in ["alice", "bob"] {
        let trace = captured.trace(&format!("{user}'s"));
        assert_eq!(trace.user_id.as_deref(), Some(user));
        assert_eq!(trace.output, Some(json!(format!("{user}'s answer"))));
        let names: Vec<&str> = trace.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, [format!("{user}'s"), format!("{user}'s tool")]);
    }
    assert_eq!(captured.trace("bob's").spans[1].output, Some(json!("bob's secret")));
    assert_eq!((captured.traces.len(), captured.reported(ReportKind::UnknownRun)), (2, 1));
}

#[tokio::test]
async fn a_run_that_learns_its_user_late_still_ends() {
    let captured = capture(|| async {
        let handler = Handler::new();
        handler.started("1", None, chain("anonymous"));
        pandaprobe::user("ada").run(|| handler.ended("1", Some(json!("done"))));
    })
    .await;
    let trace = captured.trace("anonymous");
    assert_eq!((trace.user_id.as_deref(), &trace.output), (Some("ada"), &Some(json!("done"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_and_its_children_may_start_at_once() {
    let captured = capture(|| async {
        let here = pandaprobe::Scope::current();
        let both = |one: fn(&Handler), two: fn(&Handler)| {
            let (handler, gate) = (Handler::new(), Barrier::new(2));
            let run = |f: fn(&Handler)| {
                gate.wait();
                here.clone().run(|| f(&handler));
            };
            std::thread::scope(|threads| {
                threads.spawn(|| run(one));
                threads.spawn(|| run(two));
            });
            handler.started("parent", None, chain("parent"));
            for run in ["a", "b", "parent"] {
                handler.ended(run, None);
            }
        };
        for _ in 0..200 {
            let parent = |handler: &Handler| handler.started("parent", None, chain("parent"));
            let a = |handler: &Handler| handler.started("a", id("parent"), tool("a"));
            let b = |handler: &Handler| handler.started("b", id("parent"), tool("b"));
            both(a, b);
            both(parent, a);
        }
    })
    .await;
    assert_eq!(captured.traces.len(), 400, "no ghost beside them");
    for trace in &captured.traces {
        let parent = trace.span("parent").expect("the parent came true");
        let children = trace.spans.iter().filter(|span| span.parent_span_id == Some(parent.span_id)).count();
        assert_eq!(children + 1, trace.spans.len(), "{:?}", trace.spans);
    }
    assert_eq!(captured.traces.iter().map(|trace| trace.spans.len()).sum::<usize>(), 200 * 3 + 200 * 2);
}

#[tokio::test]
async fn a_double_end_of_an_old_run_ends_no_later_one() {
    let captured = events(|handler| {
        for n in 0..3_000 {
            handler.started("again", None, chain("again"));
            handler.ended("again", Some(json!(n)));
        }
        handler.ended("again", Some(json!("twice")));
        handler.started("again", None, chain("last"));
        handler.ended("again", Some(json!("its own")));
    })
    .await;
    assert_eq!(captured.trace("last").output, Some(json!("its own")));
}

#[tokio::test]
async fn a_run_that_was_made_up_decodes_what_is_fed_to_it() {
    struct Echo(Vec<u8>);
    impl pandaprobe::Decode for Echo {
        fn push(&mut self, piece: pandaprobe::Piece, _: pandaprobe::Timestamp) {
            if let pandaprobe::Piece::Body(bytes) = piece {
                self.0.extend_from_slice(&bytes);
            }
        }
        fn describe(&self, span: &mut pandaprobe::SpanData) {
            span.output = Some(String::from_utf8_lossy(&self.0).into());
        }
        fn is_stream(&self) -> bool {
            false
        }
        fn is_terminal(&self) -> bool {
            true
        }
        fn held_bytes(&self) -> usize {
            self.0.len()
        }
    }
    let captured = events(|handler| {
        handler.started("child", id("parent"), tool("child"));
        handler.started("parent", None, chain("parent").decoder(Echo(vec![])));
        handler.span("parent").expect("it is open").feed(pandaprobe::Piece::Body("fed".into()));
        handler.ended("child", None);
        handler.ended("parent", None);
    })
    .await;
    assert_eq!(captured.traces[0].span("parent").expect("it came true").output, Some(json!("fed")));
}

/// A handler that is told by its framework of a session and a user.
fn told(user: &str) -> Handler {
    Handler::new().fallback_session_id("thread-1").fallback_user_id(user)
}

#[tokio::test]
async fn what_the_framework_says_of_identity_is_below_all_who_say_more() {
    let captured = capture(|| async {
        told("framework").start(chain("nobody else")).end();
        told("framework").user_id("ada").start(chain("handler")).end();
        pandaprobe::user("bob").run(|| told("framework").start(chain("scope")).end());
        pandaprobe::Scope::new().run(|| {
            pandaprobe::set_user("carol");
            told("framework").start(chain("set")).end();
        });
        told("framework").user_id("").start(chain("no id")).end();
        told("").start(chain("no id of the framework")).end();
    })
    .await;
    assert_eq!(
        captured.tree(),
        "nobody else COMPLETED session=thread-1 user=framework\n└─ CHAIN nobody else OK\n\
         handler COMPLETED session=thread-1 user=ada\n└─ CHAIN handler OK\n\
         scope COMPLETED session=thread-1 user=bob\n└─ CHAIN scope OK\n\
         set COMPLETED session=thread-1 user=carol\n└─ CHAIN set OK\n\
         no id COMPLETED session=thread-1\n└─ CHAIN no id OK\n\
         no id of the framework COMPLETED session=thread-1\n└─ CHAIN no id of the framework OK\n"
    );
    let reports: Vec<_> = captured.reports.iter().map(|report| report.kind).collect();
    assert_eq!(reports, [ReportKind::InvalidId; 2]);
}

#[tokio::test]
async fn a_trace_that_has_its_user_from_a_framework_takes_no_other_one_of_a_framework() {
    let captured = capture(|| async {
        trace("request").run(|_| {
            told("first").start(chain("a")).end();
            told("first").start(chain("b")).end();
            told("second").start(chain("another's")).end();
            Handler::new().start(chain("no framework")).end();
            // Explicitly somebody else than the framework said before.
            Handler::new().user_id("ada").start(chain("explicit")).end();
        });
        // Who opened it has said whose it is.
        trace("named").user_id("ada").run(|_| {
            told("first").start(chain("c")).end();
            told("second").start(chain("d")).end();
        });
    })
    .await;
    let tree = captured.tree();
    let request = "request COMPLETED session=thread-1 user=first\n├─ CHAIN a OK\n├─ CHAIN b OK\n└─ CHAIN no framework OK\n";
    assert!(tree.contains(request), "{tree}");
    assert!(
        tree.contains("another's COMPLETED session=thread-1 user=second\n└─ CHAIN another's OK\n"),
        "{tree}"
    );
    assert!(tree.contains("explicit COMPLETED user=ada\n└─ CHAIN explicit OK\n"), "{tree}");
    assert!(
        tree.contains("named COMPLETED session=thread-1 user=ada\n├─ CHAIN c OK\n└─ CHAIN d OK\n"),
        "{tree}"
    );
    let linked = &captured.trace("another's").metadata["pandaprobe.parent_trace_id"];
    assert_eq!(*linked, json!(captured.trace("request").trace_id.to_string()));
}

#[tokio::test]
async fn a_session_of_a_framework_gives_way_to_one_that_somebody_names() {
    let captured = capture(|| async {
        let in_session = |id: &str| Handler::new().fallback_session_id(id);
        trace("request").run(|_| {
            in_session("thread-1").start(chain("a")).end();
            // Sessions that frameworks name do not part what somebody put together.
            in_session("thread-2").start(chain("b")).end();
            pandaprobe::session("conversation").run(|| Handler::new().start(chain("c")).end());
            in_session("thread-3").start(chain("d")).end();
        });
        // Somebody's session, once said, is not given up.
        trace("other").session_id("said").run(|_| {
            pandaprobe::session("another").run(|| Handler::new().start(chain("e")).end());
        });
    })
    .await;
    let trace = captured.trace("request");
    assert_eq!((trace.session_id.as_deref(), trace.spans.len()), (Some("conversation"), 4));
    assert_eq!(captured.trace("e").session_id.as_deref(), Some("another"));
}
