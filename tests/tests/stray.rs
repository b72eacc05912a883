//! Work that others poll: what is current where they do is not its own, and is withheld. A binary of its own, with one test
//! at a time: it is withheld in the whole process.

use std::time::{Duration, Instant};

use pandaprobe::{
    InCurrentScope, MemoryExporter, ReportKind, Scope, StrayWork, current_trace_id, is_withheld, session,
    set_user, span, testing::capture, trace, user,
};
use serde_json::json;
use tokio::sync::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn what_is_current_is_withheld_while_such_work_is_in_flight() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let captured = capture(|| async {
        let client = pandaprobe::current_client().unwrap();
        user("ada").session("talk").tag("hers").run(|| {
            trace("agent").run(|_| {
                span("before").run(|_| ());
                let tool = StrayWork::begin();
                // Nobody knows whose these are.
                assert_eq!(current_trace_id(), None);
                assert!(is_withheld());
                span("lost").run(|_| ());
                trace("unknown").client(client.clone()).run(|_| ());
                set_user("grace");
                // What it says itself is its own.
                trace("said").client(client.clone()).user_id("grace").run(|_| ());
                drop(tool);
                assert!(!is_withheld());
                span("after").run(|_| ());
            });
        });
        // Elsewhere, and on other threads, too.
        let _tool = StrayWork::begin();
        let there = std::thread::spawn(move || user("ada").run(|| trace("there").client(client).run(|_| ())));
        there.join().unwrap();
    })
    .await;
    captured.assert_tree(
        "unknown COMPLETED\n\
         said COMPLETED user=grace\n\
         agent COMPLETED session=talk user=ada tags=hers\n\
         ├─ OTHER before OK\n\
         └─ OTHER after OK\n\
         there COMPLETED\n",
    );
    let withheld = captured.trace("unknown").metadata.clone();
    assert_eq!(withheld["pandaprobe.withheld"], json!("nobody knows whose it is"));
    assert!(!withheld.contains_key("pandaprobe.parent_trace_id"));
    assert!(captured.reported(ReportKind::IdentityWithheld) >= 3, "{:?}", captured.reports);
}

#[tokio::test]
async fn callbacks_of_integrations_are_left_alone() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let captured = capture(|| async {
        let place = user("ada").open();
        let callbacks = place.for_callbacks();
        let _tool = StrayWork::begin();
        callbacks.run(|| trace("hers").run(|_| span("step").run(|_| ())));
        place.run(|| assert!(is_withheld()));
        // What is set in the scope counts in it.
        drop(_tool);
        place.run(|| set_user("grace"));
        let _tool = StrayWork::begin();
        callbacks.run(|| trace("of grace").run(|_| ()));
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree("hers COMPLETED user=ada\n└─ OTHER step OK\nof grace COMPLETED user=grace\n");
}

#[tokio::test]
async fn work_that_is_given_up_counts_a_little_longer() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let began = Instant::now();
    StrayWork::begin().give_up();
    // Another thread may be polling it.
    assert!(is_withheld());
    while is_withheld() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(5), "for ever");
    }
    assert!(began.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn what_was_made_meanwhile_stays_outside() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let captured = capture(|| async {
        let client = pandaprobe::current_client().unwrap();
        let (before, during) = user("ada").run(|| {
            let before = trace("before").scope(|_| async {});
            let _tool = StrayWork::begin();
            let during = async { trace("during").run(|_| ()) }.in_current_scope();
            (before, Scope::new().client(client.clone()).scope(during))
        });
        let during = async {
            // Even in a scope of somebody else.
            user("grace").scope(during).await;
        };
        tokio::join!(before, during);
    })
    .await;
    assert_eq!(captured.trace("before").user_id.as_deref(), Some("ada"));
    assert!(
        captured.traces.iter().all(|trace| trace.user_id.as_deref() != Some("grace")),
        "{}",
        captured.tree()
    );
}

#[tokio::test]
async fn nowhere_is_outside_of_everything() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let captured = capture(|| async {
        let client = pandaprobe::current_client().unwrap();
        let nowhere = async {
            assert!(is_withheld());
            trace("alone").run(|_| ());
            // It would be that of all who are polled there.
            set_user("grace");
            trace("still alone").run(|_| ());
            session("own").run(|| {
                trace("with a session").run(|_| ());
                set_user("own user");
                trace("with a user").run(|_| ());
            });
        };
        let agent = trace("agent").scope(|_| async {
            Scope::nowhere().client(client.clone()).scope(nowhere).await;
            span("back again").run(|_| ());
        });
        user("ada").session("talk").scope(agent).await;
    })
    .await;
    captured.assert_tree(
        "alone COMPLETED\n\
         still alone COMPLETED\n\
         with a session COMPLETED session=own\n\
         with a user COMPLETED session=own user=own user\n\
         agent COMPLETED session=talk user=ada\n└─ OTHER back again OK\n",
    );
    assert_eq!(captured.reported(ReportKind::IdentityWithheld), 4);
}

#[tokio::test]
async fn the_process_default_is_withheld_too() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let exporter = MemoryExporter::default();
    let client = pandaprobe::Client::new(pandaprobe::Config::new().exporter(exporter.clone())).unwrap();
    let begin = |name: &str| trace(name).client(client.clone()).run(|_| ());
    set_user("service");
    begin("ours");
    let tool = StrayWork::begin();
    begin("anybody's");
    drop(tool);
    begin("ours again");
    client.shutdown(Duration::from_secs(5)).unwrap();
    let users: Vec<_> =
        exporter.traces().iter().map(|trace| (trace.name.clone(), trace.user_id.clone())).collect();
    let service = || Some("service".to_owned());
    assert_eq!(
        users,
        [
            ("ours".to_owned(), service()),
            ("anybody's".to_owned(), None),
            ("ours again".to_owned(), service())
        ]
    );
}
