//! What tracing adds to a turn of a rig agent, on the threads of the caller.
//!
//! `cargo run --release -p pandaprobe-bench --bin rig [-- ROUNDS]`
//!
//! A run is two turns: the model calls a tool, which answers at once, and then answers. Before it the conversation has ten
//! messages of 500 bytes. The model is scripted and answers at once, so that nothing but rig itself is measured. The
//! untraced agent and the traced ones take turns, round after round, and are compared within each. What counts is processor time of the caller's thread,
//! not of the threads that PandaProbe has. It fails if a traced turn takes more than 50
//! microseconds longer, by the tenth percentiles: what else runs on the machine only ever adds.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measuring program talks, and stops at once")]

use std::{convert::Infallible, process::ExitCode, time::Duration};

use cpu_time::ThreadTime;
use pandaprobe::{
    Client, Config, Envelope, ExportFuture, Exporter, RigHandler,
    rig::{BuildTraced, Traced},
};
use rig::{
    agent::AgentHook,
    completion::message::Message,
    prelude::*,
    test_utils::{MockCompletionModel, MockTurn},
    tool::ToolContext,
};
use serde_json::{Value, json};

const TURNS: u32 = 2;
const RUNS: usize = 20;
const BAR: f64 = 50.0;

/// Takes everything and does nothing with it.
struct Nowhere;

impl Exporter for Nowhere {
    fn export<'a>(&'a self, _: &'a Envelope) -> ExportFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Now;

impl Tool for Now {
    const NAME: &'static str = "now";
    type Args = Value;
    type Output = Value;
    type Error = Infallible;

    fn description(&self) -> String {
        "Says what time it is.".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "properties": {"zone": {"type": "string"}}})
    }

    async fn call(&self, _: &mut ToolContext, _: Value) -> Result<Value, Infallible> {
        Ok(json!({"time": "12:00"}))
    }
}

/// What rig itself takes for having a hook.
struct Idle;

impl AgentHook for Idle {}

fn builder() -> AgentBuilder<rig::agent::WithBuilderTools> {
    let turns = (0..RUNS).flat_map(|_| {
        [
            MockTurn::tool_call("call_0", "now", json!({"zone": "UTC"})),
            MockTurn::text("y".repeat(500))
                .with_usage(rig::completion::Usage::new().input_tokens(900).output_tokens(90)),
        ]
    });
    let model = MockCompletionModel::from_turns(turns);
    AgentBuilder::new(model).name("bench").preamble("z".repeat(500)).default_max_turns(3).tool(Now)
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Bare,
    Hooked,
    Off,
    Built,
    Request,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let client = Client::new(Config::new().exporter(Nowhere)).expect("a client");
    let ways = [
        ("untraced", Way::Bare),
        ("a hook that does nothing", Way::Hooked),
        ("traced, switched off", Way::Off),
        ("build_traced", Way::Built),
        (".traced(handler)", Way::Request),
    ];
    let mut times = ways.map(|_| Vec::new());
    for nth in 0..rounds {
        // Each comes first as often as the others: the memory that one leaves behind is the next one's.
        for at in (0..ways.len()).map(|at| (at + nth) % ways.len()) {
            times[at].push(round(ways[at].1, &client).await);
            client.flush_async(Duration::from_secs(60)).await.expect("it is taken at once");
        }
    }
    println!(
        "{rounds} rounds of {RUNS} runs: microseconds a turn on the caller's thread, and more than untraced"
    );
    println!("{:26}{:>20}{:>20}", "", "tenth percentile", "median");
    let mut good = client.stats().dropped_total() == 0;
    let times = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        [times[times.len() / 10], times[times.len() / 2]]
    });
    for ((name, way), [quiet, usual]) in ways.iter().zip(times) {
        let added = quiet - times[0][0];
        let is_over = *way != Way::Bare && added > BAR;
        good &= !is_over;
        let more = usual - times[0][1];
        let over = if is_over { "  OVER THE BAR" } else { "" };
        println!("{name:26}{quiet:>12.1}{added:>+8.1}{usual:>12.1}{more:>+8.1}{over}");
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Microseconds of a turn.
async fn round(way: Way, client: &Client) -> f64 {
    let handler = RigHandler::new().session_id("conversation-123").user_id("user-abc");
    let handler = match way {
        Way::Off => handler.client(Client::new(Config::new().enabled(false)).expect("a client")),
        _ => handler.client(client.clone()),
    };
    let bare = builder().build();
    let traced = builder().build_traced(&handler);
    let history: Vec<Message> = (0..10)
        .map(|at| match at % 2 {
            0 => Message::user("q".repeat(500)),
            _ => Message::assistant("a".repeat(500)),
        })
        .collect();
    let begun = ThreadTime::now();
    for _ in 0..RUNS {
        let (prompt, history) = ("What time is it?", history.clone());
        let answer = match way {
            Way::Bare => bare.prompt(prompt).history(history).await,
            Way::Hooked => bare.prompt(prompt).history(history).add_hook(Idle).await,
            Way::Request => bare.prompt(prompt).history(history).traced(&handler).await,
            Way::Off | Way::Built => traced.prompt(prompt).history(history).await,
        };
        answer.expect("an answer");
    }
    begun.elapsed().as_nanos() as f64 / 1000.0 / RUNS as f64 / f64::from(TURNS)
}
