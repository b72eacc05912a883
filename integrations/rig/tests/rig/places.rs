//! Runs of one agent poll each other's tools: whatever those record is where it belongs, for whom it belongs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use async_openai::{Client as OpenAi, config::OpenAIConfig as Config};
use pandaprobe_core::{ReportKind, SpanData, SpanKind, TraceData, user};
use pandaprobe_openai::OpenAiHandler;
use pandaprobe_rig::{BuildTraced, RigHandler, Traced, TracedRunner};
use rig_agent::AgentBuilder;
use serde_json::json;

use crate::crowd::{Builder, Kept, RUNS, USERS, Work, agents, check_users, model, provider, text, told};

/// Runs them all, most of them at once: half of the users by a scope, half by the handler.
async fn run_all(ask: impl Fn(&str) -> TracedRunner, handler: &RigHandler) {
    let runs = (0..RUNS).map(|run| {
        let who = format!("user-{} run-{run}.", run % USERS);
        let id = format!("user-{}", run % USERS);
        let runner = ask(&who).tool_concurrency(4);
        let runner = match run % 2 {
            0 => runner,
            _ => runner.traced(&handler.clone().user_id(&id).session_id(format!("session-{run}"))),
        };
        tokio::spawn(async move {
            // Some begin while tools of others run.
            tokio::time::sleep(Duration::from_millis(run as u64 % 50)).await;
            let answer = match run % 2 {
                0 => user(id).session(format!("session-{run}")).scope(runner).await,
                _ => runner.await,
            };
            assert_eq!(answer.unwrap().output(), format!("done {who}"));
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
}

/// `AGENT boss > TOOL work > LLM openai-chat`, from the root to the span.
fn path(trace: &TraceData, span: &SpanData) -> String {
    let step = format!("{:?} {}", span.kind, span.name);
    match span.parent_span_id {
        Some(id) => {
            let parent =
                trace.spans.iter().find(|span| span.span_id == id).expect("its parent is in its trace");
            format!("{} > {step}", path(trace, parent))
        }
        None => step,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_runs_of_fifty_users_stay_apart() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let helper = |builder: Builder| builder.build_traced(&handler).into_tool().unwrap();
    let agent = agents(&provider, &kept.client, helper, |builder| builder.build_traced(&handler));
    run_all(|who| agent.prompt(who), &handler).await;
    let (traces, reports) = kept.traces();
    assert_eq!(reports.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(traces.len(), RUNS);

    let helper = "Agent boss > Tool helper > Agent helper";
    let expected: BTreeMap<String, usize> = [
        ("Agent boss".to_owned(), 1),
        ("Agent boss > Llm chat".to_owned(), 2),
        ("Agent boss > Tool work".to_owned(), 1),
        ("Agent boss > Tool work > Llm openai-chat".to_owned(), 1),
        ("Agent boss > Tool work > Other audit".to_owned(), 1),
        ("Agent boss > Tool helper".to_owned(), 1),
        (helper.to_owned(), 1),
        (format!("{helper} > Llm chat"), 2),
        (format!("{helper} > Tool work"), 1),
        (format!("{helper} > Tool work > Llm openai-chat"), 1),
        (format!("{helper} > Tool work > Other audit"), 1),
    ]
    .into();
    let mut users: HashMap<String, usize> = HashMap::new();
    for trace in &traces {
        let user = trace.user_id.clone().unwrap();
        *users.entry(user.clone()).or_default() += 1;
        let run = text(&trace.input.as_ref().unwrap()["messages"][0]["content"]);
        assert!(run.starts_with(&format!("{user} ")), "{run} is recorded for {user}");
        let number = run.split("run-").nth(1).unwrap().trim_end_matches('.');
        assert_eq!(trace.session_id, Some(format!("session-{number}")));
        let mut paths = BTreeMap::new();
        for span in &trace.spans {
            *paths.entry(path(trace, span)).or_default() += 1;
            assert_eq!(told(span), HashSet::from([run.trim_end_matches('.').to_owned()]), "{span:?}");
        }
        assert_eq!(paths, expected, "of {run}");
    }
    assert_eq!(users.len(), USERS);
    assert!(users.values().all(|runs| *runs == RUNS / USERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_unwrapped_tools_of_traced_requests_record_is_nobodys() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let helper = |builder: Builder| handler.instrument(&builder.build()).into_tool().unwrap();
    let agent = agents(&provider, &kept.client, helper, |builder| builder.build());
    run_all(|who| agent.prompt(who).traced(&handler), &handler).await;
    let (traces, reports) = kept.traces();
    check_users(&traces);
    for trace in &traces {
        match trace.name.as_str() {
            "boss" => {
                let root = trace.spans.iter().find(|span| span.kind == SpanKind::Agent).unwrap();
                assert_eq!(root.metadata["pandaprobe.unwrapped_tools"], json!(["helper", "work"]));
                assert!(trace.user_id.is_some() && trace.session_id.is_some());
            }
            _ => {
                assert_eq!((&trace.user_id, &trace.session_id), (&None, &None), "{}", trace.name);
                assert!(trace.metadata.contains_key("pandaprobe.withheld"));
            }
        }
    }
    // The wrapped client in the tool, and the nested agent with all that is below it, each in a trace of its own.
    assert_eq!(traces.len(), 3 * RUNS);
    let withheld = reports.iter().filter(|report| report.kind == ReportKind::IdentityWithheld).count();
    assert_eq!(withheld, 2 * RUNS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn agents_that_share_their_tools_find_their_own_calls() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let openai = Config::new().with_api_key("key").with_api_base(format!("{}/v1", provider.url()));
    let openai = OpenAiHandler::new().client(kept.client.clone()).wrap(OpenAi::with_config(openai));
    let tools = rig_agent::tool::server::ToolServer::new().tool(Work { openai }).run();
    // One agent for each request, as services do: all count their calls from one.
    let runs = (0..RUNS).map(|run| {
        let (model, tools) = (model(&provider), tools.clone());
        let handler = handler.clone().user_id(format!("user-{}", run % USERS));
        tokio::spawn(async move {
            let agent = AgentBuilder::new(model)
                .tool_server_handle(tools)
                .default_max_turns(3)
                .build_traced(&handler);
            agent.prompt(format!("user-{} run-{run}.", run % USERS)).await.unwrap();
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    let (traces, reports) = kept.traces();
    assert!(reports.is_empty(), "{reports:?}");
    assert_eq!(traces.len(), RUNS);
    for trace in &traces {
        let told: HashSet<String> = trace.spans.iter().flat_map(told).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told.iter().next().unwrap().starts_with(&format!("{} ", trace.user_id.as_ref().unwrap())));
        assert_eq!(trace.spans.len(), 6);
    }
    // Wrapped once, however many agents share it.
    let layers = tools.toolset().get("work").unwrap().handler().descriptor().layers;
    assert_eq!(layers, ["pandaprobe"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instrumented_agent_records_its_runs_and_isolates_all_others() {
    let (provider, kept) = (provider(), Kept::new());
    let handler = RigHandler::new().client(kept.client.clone());
    let helper = |builder: Builder| builder.build_traced(&handler).into_tool().unwrap();
    let plain = agents(&provider, &kept.client, helper, |builder| builder.build());
    let agent = handler.instrument(&plain);
    let runs = (0..40).map(|run| {
        let (agent, plain) = (agent.clone(), plain.clone());
        let who = format!("user-{run} run-{run}.");
        tokio::spawn(async move {
            // Every other one asks the agent itself, without a hook.
            let scope = user(format!("user-{run}"));
            match run % 2 {
                0 => scope.scope(agent.prompt(who.as_str()).tool_concurrency(2)).await.unwrap(),
                _ => scope.scope(plain.prompt(who.as_str()).tool_concurrency(2)).await.unwrap(),
            };
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    let (traces, _) = kept.traces();
    assert_eq!(traces.iter().filter(|trace| trace.name == "boss").count(), 20);
    for trace in &traces {
        let told: HashSet<String> = trace.spans.iter().flat_map(told).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        if let Some(user) = &trace.user_id {
            assert!(
                told.iter().next().unwrap().starts_with(&format!("{user} ")),
                "{told:?} is recorded for {user}"
            );
        }
        assert_eq!(trace.user_id.is_some(), trace.name == "boss", "{}", trace.name);
        assert_eq!(
            trace.spans.len(),
            match trace.name.as_str() {
                "boss" => 13,
                "helper" => 6,
                _ => 1,
            }
        );
    }
}
