//! The scenarios that were recorded with the reference SDK and Google's ADK for Python, run with adk-rust: the same
//! traces and spans, of the same kinds, with the same ends and in the same places, but for what is listed here.

use std::sync::Arc;

use adk_core::{AdkError, GenerateContentConfig, Part, UsageMetadata};
use futures_util::StreamExt;
use pandaprobe_adk::{AdkHandler, TracedRunner};
use pandaprobe_core::{TraceData, testing::capture};
use pandaprobe_tests::{golden, shared};
use serde_json::{Value, json};

use crate::kit::{
    Piece, Scripted, agent, answer, ask, build, call, end, partial, plain_runner, say, start, text, tool,
    weather,
};

/// A line of what is compared that differs on purpose.
struct Agreed {
    file: u32,
    trace: usize,
    theirs: &'static str,
    ours: &'static str,
    why: &'static str,
}

const NAME: &str = "a trace is named as its root, so that traces of several apps can be told apart";
const TOOL: &str = "a tool stands below the agent that runs it: when it runs, the model has answered and its span has \
                    ended. In Python the generator of the model is only suspended then";
const TEXT: &str = "the text of an error is that of adk-rust, which puts component and category before it";
const HANDLED: &str = "agents of adk-rust tell the model of a tool's error and go on";
const LEFT: &str = "what is read no further has ended: OK, with pandaprobe.end; in Python it is never closed";
const KEPT: &str = "and what was said until then is kept";

const AGREED: &[Agreed] = &[
    Agreed {
        file: 42,
        trace: 0,
        theirs: "TRACE GoogleADK COMPLETED",
        ours: "TRACE my-app COMPLETED",
        why: NAME,
    },
    Agreed {
        file: 42,
        trace: 0,
        theirs: "TOOL get_weather OK below scripted-model",
        ours: "TOOL get_weather OK below weather_agent",
        why: TOOL,
    },
    Agreed {
        file: 42,
        trace: 0,
        theirs: "usage of scripted-model: 12 + 7, 24 in all, 5 of them reasoning",
        ours: "usage of scripted-model: 12 + 12, 24 in all, 5 of them reasoning",
        why: "what is spent on reasoning is part of the completion, so that the parts make up the whole",
    },
    Agreed {
        file: 43,
        trace: 0,
        theirs: "TRACE GoogleADK COMPLETED",
        ours: "TRACE my-app COMPLETED",
        why: NAME,
    },
    Agreed {
        file: 43,
        trace: 0,
        theirs: "TOOL transfer_to_agent OK below m1",
        ours: "TOOL transfer_to_agent OK below root_agent",
        why: TOOL,
    },
    Agreed { file: 43, trace: 1, theirs: "TRACE GoogleADK ERROR", ours: "TRACE my-app ERROR", why: NAME },
    Agreed {
        file: 43,
        trace: 1,
        theirs: "CHAIN my-app ERROR llm down",
        ours: "CHAIN my-app ERROR model.internal: llm down",
        why: TEXT,
    },
    Agreed {
        file: 43,
        trace: 1,
        theirs: "AGENT bad ERROR llm down below my-app",
        ours: "AGENT bad ERROR model.internal: llm down below my-app",
        why: TEXT,
    },
    Agreed {
        file: 43,
        trace: 1,
        theirs: "LLM m3 ERROR llm down below bad",
        ours: "LLM m3 ERROR model.internal: llm down below bad",
        why: TEXT,
    },
    Agreed {
        file: 43,
        trace: 2,
        theirs: "TRACE GoogleADK ERROR",
        ours: "TRACE my-app COMPLETED",
        why: HANDLED,
    },
    Agreed {
        file: 43,
        trace: 2,
        theirs: "CHAIN my-app ERROR no such city",
        ours: "CHAIN my-app OK",
        why: HANDLED,
    },
    Agreed {
        file: 43,
        trace: 2,
        theirs: "AGENT toolerr ERROR no such city below my-app",
        ours: "AGENT toolerr OK below my-app",
        why: HANDLED,
    },
    Agreed {
        file: 43,
        trace: 2,
        theirs: "TOOL get_weather ERROR no such city below m4",
        ours: "TOOL get_weather ERROR tool.internal: no such city below toolerr",
        why: TOOL,
    },
    Agreed { file: 43, trace: 2, theirs: "", ours: "LLM m4 OK below toolerr", why: HANDLED },
    Agreed { file: 43, trace: 2, theirs: "", ours: "says I cannot.", why: HANDLED },
    Agreed {
        file: 43,
        trace: 3,
        theirs: "TRACE GoogleADK COMPLETED",
        ours: "TRACE my-app COMPLETED",
        why: NAME,
    },
    Agreed {
        file: 43,
        trace: 3,
        theirs: "AGENT abandoned UNSET below my-app",
        ours: "AGENT abandoned OK below my-app",
        why: LEFT,
    },
    Agreed {
        file: 43,
        trace: 3,
        theirs: "LLM m5 UNSET below abandoned",
        ours: "LLM m5 OK below abandoned",
        why: LEFT,
    },
    Agreed { file: 43, trace: 3, theirs: "", ours: "says par", why: KEPT },
];

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn last_text(messages: &Value) -> Option<String> {
    Some(messages["messages"].as_array()?.last()?["content"].as_str()?.to_owned())
}

/// What is compared of a trace, in any order.
fn lines(trace: &Value) -> Vec<String> {
    let spans: Vec<&Value> = trace["spans"].as_array().unwrap().iter().collect();
    let name_of =
        |id: &Value| spans.iter().find(|span| span["span_id"] == *id).map(|span| string(&span["name"]));
    let mut lines = vec![format!("TRACE {} {}", string(&trace["name"]), string(&trace["status"]))];
    lines.extend(["session_id", "user_id"].map(|id| format!("{id} {}", trace[id])));
    lines.push(format!("tags {} metadata k {}", trace["tags"], trace["metadata"]["k"]));
    lines.push(format!("asks {}", last_text(&trace["input"]).unwrap()));
    lines.extend(last_text(&trace["output"]).map(|said| format!("says {said}")));
    for span in &spans {
        let mut line =
            format!("{} {} {}", string(&span["kind"]), string(&span["name"]), string(&span["status"]));
        if let Some(error) = span["error"].as_str() {
            line += &format!(" {error}");
        }
        if let Some(parent) = name_of(&span["parent_span_id"]) {
            line += &format!(" below {parent}");
        }
        lines.push(line);
        let usage = &span["token_usage"];
        // The other recordings have the very same numbers, which the models here do not count again.
        if usage["reasoning_tokens"].is_number() && name_of(&span["span_id"]).unwrap() == "scripted-model" {
            let [prompt, completion, total, reasoning] =
                ["prompt", "completion", "total", "reasoning"].map(|key| &usage[format!("{key}_tokens")]);
            lines.push(format!(
                "usage of scripted-model: {prompt} + {completion}, {total} in all, {reasoning} of them reasoning"
            ));
        }
    }
    lines.sort();
    lines
}

fn compare(file: u32, ours: &[TraceData]) {
    let Some(golden) = shared::require("shared", golden::available()).then(|| golden::load(file).unwrap())
    else {
        return;
    };
    assert_eq!(golden.pandaprobe_requests.len(), ours.len());
    for (nth, (theirs, ours)) in golden.pandaprobe_requests.iter().zip(ours).enumerate() {
        let mut expected = lines(&theirs["body"]);
        for agreed in AGREED.iter().filter(|agreed| (agreed.file, agreed.trace) == (file, nth)) {
            assert!(!agreed.why.is_empty());
            let mut found = agreed.theirs.is_empty();
            for line in &mut expected {
                if *line == agreed.theirs {
                    agreed.ours.clone_into(line);
                    found = true;
                }
            }
            assert!(found, "{file}, trace {nth}: nothing is {:?} in {expected:#?}", agreed.theirs);
            if agreed.theirs.is_empty() {
                expected.push(agreed.ours.to_owned());
            }
        }
        expected.sort();
        let ours = lines(&serde_json::to_value(ours).unwrap());
        assert_eq!(ours, expected, "{file}, trace {nth}");
    }
}

async fn app(handler: &AdkHandler, agent: Arc<dyn adk_core::Agent>) -> TracedRunner {
    let sessions = plain_runner(Arc::clone(&agent), &["ada"]).await.session_service().clone();
    let session = adk_session::CreateRequest {
        app_name: "my-app".to_owned(),
        user_id: "ada".to_owned(),
        session_id: Some("session-of-ada".to_owned()),
        state: Default::default(),
    };
    sessions.create(session).await.unwrap();
    let runner = adk_runner::Runner::builder().app_name("my-app").agent(agent).session_service(sessions);
    handler.runner(runner.build().unwrap())
}

fn counted(piece: Piece) -> Piece {
    let Piece::Say(mut response) = piece else { return piece };
    response.usage_metadata = Some(UsageMetadata {
        prompt_token_count: 12,
        candidates_token_count: 7,
        total_token_count: 24,
        thinking_token_count: Some(5),
        cache_read_input_token_count: Some(0),
        ..UsageMetadata::default()
    });
    Piece::Say(response)
}

#[tokio::test]
async fn golden_42_google_adk_tool() {
    let captured = capture(|| async {
        let handler = AdkHandler::new().session_id("sess-1").user_id("user-1").tags(["t"]).metadata("k", "v");
        let thinking = Part::Thinking { thinking: "planning".to_owned(), signature: None };
        let calls = answer(vec![thinking, call("get_weather", json!({"city": "Paris"}))]);
        let pieces = vec![partial(vec![text("It is ")]), partial(vec![text("sunny.")]), counted(end())];
        let model = Scripted::turns("scripted-model", [vec![counted(calls)], pieces]);
        let config = GenerateContentConfig {
            temperature: Some(0.2),
            max_output_tokens: Some(50),
            ..GenerateContentConfig::default()
        };
        let plain_weather = tool("get_weather", |_, arguments| async move {
            Ok(json!({"city": arguments["city"], "sky": "sunny"}))
        });
        let agent = agent(&handler, "weather_agent", model)
            .instruction("be brief")
            .generate_content_config(config)
            .tool(handler.tool(plain_weather));
        ask(&app(&handler, build(&handler, agent)).await, "ada", "weather in Paris?").await;
    })
    .await;
    compare(42, &captured.traces);
    let llm = captured.trace("my-app").spans.iter().rfind(|span| span.name == "scripted-model").unwrap();
    assert!(llm.completion_start_time.is_some());
}

/// The reference ignores the ids that a run has, which stand here for nobody.
async fn unnamed(handler: &AdkHandler, agent: Arc<dyn adk_core::Agent>, words: &str) {
    let runner = app(handler, agent).await;
    let mut events = start(&runner, "ada", words).await;
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn golden_43_google_adk_transfer_errors_abandon() {
    let captured = capture(|| async {
        let handler = AdkHandler::new();
        let sub = agent(&handler, "sub_agent", Scripted::turns("m2", [say("sub answer")]))
            .description("handles it");
        let transfer = vec![answer(vec![call("transfer_to_agent", json!({"agent_name": "sub_agent"}))])];
        let root = agent(&handler, "root_agent", Scripted::turns("m1", [transfer]))
            .sub_agent(Arc::new(sub.build().unwrap()));
        unnamed(&handler, build(&handler, root), "please transfer").await;

        let bad = agent(&handler, "bad", Scripted::turns("m3", [vec![Piece::Fail("llm down")]]));
        unnamed(&handler, build(&handler, bad), "q").await;

        let fails = tool("get_weather", |_, _| async { Err(AdkError::tool("no such city")) });
        let calls = vec![answer(vec![call("get_weather", json!({"city": "Nowhere"}))])];
        let toolerr = agent(&handler, "toolerr", Scripted::turns("m4", [calls, say("I cannot.")]));
        unnamed(&handler, build(&handler, toolerr.tool(handler.tool(fails))), "q").await;

        let pieces = vec![partial(vec![text("par")]), Piece::Hang];
        let abandoned =
            agent(&handler, "abandoned", Scripted::turns("m5", [pieces])).tool(handler.tool(weather()));
        let runner = app(&handler, build(&handler, abandoned)).await;
        start(&runner, "ada", "q").await.next().await.unwrap().unwrap();
    })
    .await;
    let mut ours = captured.traces;
    for trace in &mut ours {
        // Here they are used, and there is no way to run adk without.
        assert_eq!(trace.session_id.take().as_deref(), Some("session-of-ada"));
        assert_eq!(trace.user_id.take().as_deref(), Some("ada"));
    }
    compare(43, &ours);
}
