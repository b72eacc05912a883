//! Runs of a runner that is not wrapped, of which only its agents tell.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use adk_agent::CustomAgentBuilder;
use adk_core::{Agent, AgentInvoker};
use adk_runner::Runner;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::{testing::capture, user};
use serde_json::json;

use crate::kit::{
    Piece, Scripted, agent, answer, build, call, invocation, messages, partial, plain_runner, question, say,
    text,
};

/// An agent that transfers to another, which answers with these pieces.
fn transfers(handler: &AdkHandler, pieces: Vec<Piece>) -> Arc<dyn Agent> {
    let hotels = agent(handler, "hotels", Scripted::turns("m2", [pieces])).build().unwrap();
    let transfer = vec![answer(vec![call("transfer_to_agent", json!({"agent_name": "hotels"}))])];
    let travel = agent(handler, "travel", Scripted::turns("m1", [transfer])).sub_agent(Arc::new(hotels));
    build(handler, travel)
}

async fn runner(handler: &AdkHandler, pieces: Vec<Piece>) -> Runner {
    plain_runner(transfers(handler, pieces), &[]).await
}

#[tokio::test]
async fn a_transfer_is_a_step_of_the_run() {
    let tree = |wrapped: bool| async move {
        let captured = capture(|| async {
            let handler = AdkHandler::new().tags(["production"]);
            let runner = runner(&handler, say("There is one.")).await;
            let events = match wrapped {
                true => handler.runner(runner).invoke("ada", "s", question("A hotel?")).await,
                false => runner.invoke("ada", "s", question("A hotel?")).await,
            };
            assert!(events.unwrap().all(|event| async move { event.is_ok() }).await);
        });
        let captured = captured.await;
        captured.assert_nothing_lost();
        let trace = captured.trace("trips");
        assert_eq!(trace.input, Some(messages("user", "A hotel?")));
        assert_eq!(trace.output, Some(messages("assistant", "There is one.")));
        captured.tree()
    };
    let plain = tree(false).await;
    assert_eq!(plain, tree(true).await);
    assert_eq!(
        plain,
        "trips COMPLETED session=s user=ada tags=production\n\
         └─ CHAIN trips OK\n\
         \x20  ├─ AGENT travel OK\n\
         \x20  │  ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20  │  └─ TOOL transfer_to_agent OK\n\
         \x20  └─ AGENT hotels OK\n\
         \x20     └─ LLM m2 m2 20→5 tokens OK\n"
    );
}

#[tokio::test]
async fn the_run_ends_as_its_last_agent_does() {
    let pieces = || vec![partial(vec![text("There ")]), Piece::Fail("the model is down")];
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let events = runner(&handler, pieces()).await.invoke("ada", "s", question("A hotel?")).await.unwrap();
        drop(events.collect::<Vec<_>>().await);
    })
    .await;
    captured.assert_tree(
        "trips ERROR session=s user=ada\n\
         └─ CHAIN trips ERROR: model.internal: the model is down\n\
         \x20  ├─ AGENT travel OK\n\
         \x20  │  ├─ LLM m1 m1 20→5 tokens OK\n\
         \x20  │  └─ TOOL transfer_to_agent OK\n\
         \x20  └─ AGENT hotels ERROR: model.internal: the model is down\n\
         \x20     └─ LLM m2 m2 ERROR: model.internal: the model is down\n",
    );
}

#[tokio::test]
async fn a_run_that_is_left_or_interrupted_says_so() {
    let pieces = || vec![partial(vec![text("There ")]), Piece::Hang];
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        for interrupts in [false, true] {
            let runner = runner(&handler, pieces()).await;
            let mut events = runner.invoke("ada", "s", question("A hotel?")).await.unwrap();
            while let Some(event) = events.next().await {
                let is_last = event.unwrap().author == "hotels";
                if is_last && interrupts {
                    assert!(runner.interrupt("s"));
                } else if is_last {
                    break;
                }
            }
        }
    })
    .await;
    let last: Vec<_> =
        captured.tree().lines().filter(|line| line.contains("CHAIN")).map(str::to_owned).collect();
    assert_eq!(
        last,
        ["└─ CHAIN trips OK (stopped_by_reader)", "└─ CHAIN trips ERROR: cancelled (cancelled)"]
    );
    assert_eq!(captured.traces[0].output, Some(messages("assistant", "There ")));
}

#[tokio::test]
async fn runs_that_are_polled_together_do_not_mix() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let runner = runner(&handler, say("There is one.")).await;
        let runs = (0..60).map(|nth| {
            let (runner, id) = (&runner, format!("user-{nth}"));
            async move {
                let words = question(&format!("I am {id}"));
                let run = runner.invoke(if nth % 2 == 0 { &id } else { "user" }, &id, words);
                let events = async { run.await.unwrap().collect::<Vec<_>>().await };
                if nth % 2 == 0 { events.await } else { user(id.as_str()).scope(events).await }
            }
        });
        join_all(runs).await;
    })
    .await;
    captured.assert_nothing_lost();
    assert_eq!(captured.traces.len(), 60);
    for trace in &captured.traces {
        let user = trace.user_id.as_deref().unwrap();
        assert_eq!(trace.session_id.as_deref(), Some(user));
        assert_eq!((trace.spans.len(), &trace.input), (6, &Some(messages("user", &format!("I am {user}")))));
    }
}

/// Contexts that an application makes itself may all have one id.
#[tokio::test]
async fn runs_of_one_id_are_not_taken_for_each_other() {
    let captured = capture(|| async {
        let [ada, grace] = ["ada", "grace"].map(|user| AdkHandler::new().user_id(user));
        let (first, second) = (transfers(&ada, say("Hers.")), transfers(&grace, say("Hers too.")));
        let context = invocation(Arc::clone(&first)).await;
        let mut events = first.run(context.clone()).await.unwrap();
        while events.next().await.is_some() {}
        let of_grace = Arc::clone(&second.sub_agents()[0]);
        drop(of_grace.run(context.clone()).await.unwrap().collect::<Vec<_>>().await);
        let of_ada = Arc::clone(&first.sub_agents()[0]);
        drop(of_ada.run(context).await.unwrap().collect::<Vec<_>>().await);
        drop(events);
    })
    .await;
    let users: Vec<_> =
        captured.traces.iter().map(|trace| (trace.user_id.as_deref().unwrap(), trace.spans.len())).collect();
    assert_eq!(users, [("grace", 3), ("ada", 6)], "{}", captured.tree());
}

#[tokio::test]
async fn an_agent_that_is_given_up_before_it_has_events_is_cancelled() {
    let captured = capture(|| async {
        let custom = CustomAgentBuilder::new("custom").handler(|_| std::future::pending());
        let agent = AdkHandler::new().agent(Arc::new(custom.build().unwrap()));
        let run = agent.run(invocation(Arc::clone(&agent)).await);
        assert!(tokio::time::timeout(Duration::from_millis(5), run).await.is_err());
    })
    .await;
    captured.assert_tree(
        "trips ERROR session=s user=someone\n\
         └─ CHAIN trips ERROR: cancelled (cancelled)\n\
         \x20  └─ AGENT custom ERROR: cancelled (cancelled)\n",
    );
}

#[tokio::test]
async fn an_agent_that_panics_says_so_and_its_run_too() {
    let captured = capture(|| async {
        let panics = || stream::once(async { panic!("out of umbrellas") }).boxed();
        let custom = CustomAgentBuilder::new("custom").handler(move |_| async move { Ok(panics()) });
        let agent = AdkHandler::new().agent(Arc::new(custom.build().unwrap()));
        let events = agent.run(invocation(Arc::clone(&agent)).await).await.unwrap();
        let read = AssertUnwindSafe(events.collect::<Vec<_>>()).catch_unwind();
        assert!(read.await.is_err());
    })
    .await;
    captured.assert_tree(
        "trips ERROR session=s user=someone\n\
         └─ CHAIN trips ERROR: panicked: out of umbrellas\n\
         \x20  └─ AGENT custom ERROR: panicked: out of umbrellas\n",
    );
}
