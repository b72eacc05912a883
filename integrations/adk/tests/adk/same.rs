//! What is wrapped does what it did: it answers the same, fails the same, and says the same of itself.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use adk_agent::LlmAgentBuilder;
use adk_core::{
    AdkError, Agent, AgentCapabilities, AgentInteractionMode, AgentTopology, AgentTransferDecision,
    AgentTransferRequest, Content, Event, EventStream, InvocationContext, Llm, LlmRequest, LlmResponse,
    LlmResponseStream, Part, ReadonlyContext, Result, RunConfig, SchemaAdapter, Tool, ToolContext, Toolset,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use pandaprobe_adk::AdkHandler;
use pandaprobe_core::testing::capture;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{
    context::tool_context,
    kit::{Piece, Scripted, plain_runner, question, tool},
};

/// Says of itself what nothing says by default.
struct Peculiar;

#[derive(Debug)]
struct Adapter;

impl SchemaAdapter for Adapter {
    fn normalize_schema(&self, _: Value) -> Value {
        json!("peculiar")
    }
}

#[async_trait]
impl Llm for Peculiar {
    fn name(&self) -> &str {
        "peculiar"
    }

    async fn generate_content(&self, _: LlmRequest, stream: bool) -> Result<LlmResponseStream> {
        Err(AdkError::model(format!("stream: {stream}")))
    }

    fn schema_adapter(&self) -> &dyn SchemaAdapter {
        &Adapter
    }

    fn uses_interactions_api(&self) -> bool {
        true
    }
}

#[async_trait]
impl Tool for Peculiar {
    fn name(&self) -> &str {
        "peculiar"
    }

    fn description(&self) -> &str {
        "is peculiar"
    }

    fn declaration(&self) -> Value {
        json!({"name": "declared"})
    }

    fn enhanced_description(&self) -> String {
        "is very peculiar".to_owned()
    }

    fn is_long_running(&self) -> bool {
        true
    }

    fn is_builtin(&self) -> bool {
        true
    }

    fn parameters_schema(&self) -> Option<Value> {
        Some(json!({"parameters": 1}))
    }

    fn response_schema(&self) -> Option<Value> {
        Some(json!({"response": 1}))
    }

    fn required_scopes(&self) -> &[&str] {
        &["a:b"]
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn is_concurrency_safe(&self) -> bool {
        true
    }

    fn is_agent_delegation(&self) -> bool {
        true
    }

    async fn execute(&self, _: Arc<dyn ToolContext>, arguments: Value) -> Result<Value> {
        Ok(arguments)
    }
}

#[async_trait]
impl Toolset for Peculiar {
    fn name(&self) -> &str {
        "peculiar"
    }

    async fn tools(&self, _: Arc<dyn ReadonlyContext>) -> Result<Vec<Arc<dyn Tool>>> {
        Ok(vec![Arc::new(Peculiar)])
    }

    async fn process_llm_request(&self, _: Arc<dyn ReadonlyContext>, request: &mut LlmRequest) -> Result<()> {
        request.model.push('!');
        Ok(())
    }
}

#[async_trait]
impl Agent for Peculiar {
    fn name(&self) -> &str {
        "peculiar"
    }

    fn description(&self) -> &str {
        "is peculiar"
    }

    fn sub_agents(&self) -> &[Arc<dyn Agent>] {
        &[]
    }

    fn interaction_mode(&self) -> AgentInteractionMode {
        AgentInteractionMode::Realtime
    }

    fn supports_agent_transfer(&self) -> bool {
        false
    }

    fn capabilities(&self) -> AgentCapabilities {
        AgentCapabilities { checkpoint_resume: true, ..AgentCapabilities::default() }
    }

    fn topology(&self) -> Option<AgentTopology> {
        let (members, relationships) = (Vec::new(), Vec::new());
        Some(AgentTopology { root: "r".to_owned(), coordinator: "c".to_owned(), members, relationships })
    }

    fn configure_run(&self, agent_name: &str, config: &mut RunConfig) {
        config.transfer_targets = vec![agent_name.to_owned()];
    }

    fn transfer_targets_for(&self, agent_name: &str) -> Option<Vec<String>> {
        Some(vec![format!("{agent_name}'s")])
    }

    fn strict_transfer_policy(&self) -> bool {
        true
    }

    async fn govern_transfer(&self, request: &AgentTransferRequest) -> Result<AgentTransferDecision> {
        Ok(AgentTransferDecision::Deny { reason: request.to.clone() })
    }

    async fn run(&self, _: Arc<dyn InvocationContext>) -> Result<EventStream> {
        Err(AdkError::agent("no"))
    }
}

#[tokio::test]
async fn what_is_wrapped_says_the_same_of_itself() {
    let handler = AdkHandler::new();
    let model = handler.llm(Arc::new(Peculiar));
    assert_eq!((model.name(), model.uses_interactions_api()), ("peculiar", true));
    assert_eq!(model.schema_adapter().normalize_schema(json!({})), json!("peculiar"));
    let asked = model.generate_content(LlmRequest::new("m", Vec::new()), true).await;
    assert!(asked.err().unwrap().to_string().ends_with("stream: true"));

    let toolset = handler.toolset(Arc::new(Peculiar));
    let context = tool_context("ada");
    let mut request = LlmRequest::new("m", Vec::new());
    toolset.process_llm_request(context.clone(), &mut request).await.unwrap();
    assert_eq!((toolset.name(), request.model.as_str()), ("peculiar", "m!"));
    let of_toolset = toolset.tools(context.clone()).await.unwrap().remove(0);
    for tool in [of_toolset, handler.tool(Arc::new(Peculiar))] {
        assert_eq!((tool.name(), tool.description()), ("peculiar", "is peculiar"));
        assert_eq!(
            (tool.declaration(), tool.enhanced_description()),
            (json!({"name": "declared"}), "is very peculiar".to_owned())
        );
        assert_eq!(tool.parameters_schema(), Some(json!({"parameters": 1})));
        assert_eq!(
            (tool.response_schema(), tool.required_scopes()),
            (Some(json!({"response": 1})), ["a:b"].as_slice())
        );
        assert!(tool.is_long_running() && tool.is_builtin() && tool.is_read_only());
        assert!(tool.is_concurrency_safe() && tool.is_agent_delegation());
        assert_eq!(tool.execute(context.clone(), json!([1])).await.unwrap(), json!([1]));
    }

    let agent = handler.agent(Arc::new(Peculiar));
    assert_eq!((agent.name(), agent.description(), agent.sub_agents().len()), ("peculiar", "is peculiar", 0));
    assert_eq!(agent.interaction_mode(), AgentInteractionMode::Realtime);
    assert_eq!(agent.capabilities(), Agent::capabilities(&Peculiar));
    assert_eq!(agent.topology(), Agent::topology(&Peculiar));
    assert!(!agent.supports_agent_transfer() && agent.strict_transfer_policy());
    let mut config = RunConfig::default();
    agent.configure_run("x", &mut config);
    assert_eq!(config.transfer_targets, ["x"]);
    assert_eq!(agent.transfer_targets_for("x").unwrap(), ["x's"]);
    let transfer = AgentTransferRequest {
        invocation_id: String::new(),
        from: String::new(),
        to: "y".to_owned(),
        depth: 1,
    };
    let decision = agent.govern_transfer(&transfer).await.unwrap();
    assert_eq!(decision, AgentTransferDecision::Deny { reason: "y".to_owned() });
}

/// If adk's traits get a method, what is wrapped has to forward it: this list, and `Peculiar`, are then to be made longer.
#[test]
fn every_method_of_adks_traits_is_known_here() {
    let Some(source) = adk_core_source() else { return };
    let methods = |file: &str, name: &str| {
        let text = std::fs::read_to_string(source.join(file)).unwrap();
        let from = text.find(&format!("pub trait {name}: Send + Sync {{")).expect("the trait");
        let body = &text[from..from + text[from..].find("\n}\n").unwrap()];
        let names = body
            .lines()
            .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
        names
            .filter_map(|name| name.split(['(', '<']).next())
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(methods("model.rs", "Llm"), "name generate_content schema_adapter uses_interactions_api");
    assert_eq!(methods("tool.rs", "Toolset"), "name tools process_llm_request");
    assert_eq!(
        methods("tool.rs", "Tool"),
        "name description declaration enhanced_description is_long_running is_builtin parameters_schema \
         response_schema required_scopes is_read_only is_concurrency_safe is_agent_delegation execute"
    );
    assert_eq!(
        methods("agent.rs", "Agent"),
        "name description sub_agents interaction_mode supports_agent_transfer capabilities topology configure_run \
         transfer_targets_for strict_transfer_policy govern_transfer run"
    );
}

/// Where cargo has the version that is used; `None`, told in one line, if that is elsewhere.
fn adk_core_source() -> Option<PathBuf> {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).ok()?;
    let version = lock.split("name = \"adk-core\"\nversion = \"").nth(1)?.split('"').next()?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    let sources = registries.into_iter().flatten().filter_map(|registry| Some(registry.ok()?.path()));
    let source = |registry: PathBuf| registry.join(format!("adk-core-{version}/src"));
    let found = sources.map(source).find(|source| source.is_dir());
    pandaprobe_tests::shared::require("the source of adk-core", found.is_some()).then_some(found).flatten()
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => ".{0,12}".prop_map(|text| Part::Text { text }),
        1 => ".{0,6}".prop_map(|thinking| Part::Thinking { thinking, signature: None }),
        1 => Just(Part::InlineData { mime_type: "image/png".to_owned(), data: vec![1; 9], uri: None, annotations: None }),
        2 => ("work|other|transfer_to_agent", any::<i64>(), any::<bool>()).prop_map(|(name, x, has_id)| Part::FunctionCall {
            name,
            args: json!({"x": x, "agent_name": "sub"}),
            id: has_id.then(|| "call".to_owned()),
            thought_signature: None,
        }),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    let response = (vec(part(), 0..4), any::<bool>(), any::<bool>(), any::<bool>(), any::<Option<i32>>());
    let said = response.prop_map(|(parts, partial, turn_complete, is_whole, tokens)| {
        let content = (!parts.is_empty()).then(|| Content { role: "model".to_owned(), parts });
        let usage = tokens.map(|tokens| crate::kit::usage(tokens / 4, 3));
        let metadata = is_whole.then(|| json!({"content_complete": true}));
        Piece::Say(Box::new(LlmResponse {
            content,
            partial,
            turn_complete,
            usage_metadata: usage,
            provider_metadata: metadata,
            ..LlmResponse::default()
        }))
    });
    prop_oneof![12 => said, 1 => Just(Piece::Fail("down"))]
}

/// What can be told from outside of an event, without ids and times.
fn shown(event: &Result<Event>) -> String {
    match event {
        Ok(event) => {
            let response = serde_json::to_string(&event.llm_response).unwrap();
            let actions = format!("{:?} {:?}", event.actions.transfer_to_agent, event.actions.state_delta);
            format!(
                "{} {} {response} {actions} {:?}",
                event.author, event.branch, event.long_running_tool_ids
            )
        }
        Err(error) => format!("{error:?}"),
    }
}

/// All that a run gives, with everything wrapped or nothing, and at most so many events read.
async fn run(
    turns: &[Vec<Piece>],
    handler: Option<AdkHandler>,
    wraps_runner: bool,
    reads: usize,
) -> Vec<String> {
    let turns = turns.to_vec();
    let model =
        Scripted::new("m", move |nth, _| turns.get(nth).cloned().unwrap_or_else(|| crate::kit::say("end")));
    let work = tool("work", |_, arguments| async move {
        match arguments["x"].as_i64().unwrap_or(0) % 2 {
            0 => Ok(arguments),
            _ => Err(AdkError::tool("odd")),
        }
    });
    let model: Arc<dyn Llm> = handler.as_ref().map_or(model.clone(), |handler| handler.llm(model.clone()));
    let work: Arc<dyn Tool> = handler.as_ref().map_or(work.clone(), |handler| handler.tool(work.clone()));
    let sub = LlmAgentBuilder::new("sub").model(Arc::clone(&model)).build().unwrap();
    let agent =
        LlmAgentBuilder::new("agent").model(model).tool(work).max_iterations(4).sub_agent(Arc::new(sub));
    let agent = Arc::new(agent.build().unwrap());
    let agent: Arc<dyn Agent> =
        handler.as_ref().map_or(agent.clone(), |handler| handler.agent(agent.clone()));
    let runner = plain_runner(agent, &["ada"]).await;
    let events = match handler.filter(|_| wraps_runner) {
        Some(handler) => handler.runner(runner).run_str("ada", "session-of-ada", question("Go.")).await,
        None => runner.run_str("ada", "session-of-ada", question("Go.")).await,
    };
    events.unwrap().take(reads).map(|event| shown(&event)).collect().await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn what_is_wrapped_does_the_same(
        turns in vec(vec(piece(), 0..4), 0..5),
        reads in prop_oneof![Just(usize::MAX), 1..8usize],
        wraps_runner in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let plain = run(&turns, None, false, reads).await;
            let captured = capture(|| run(&turns, Some(AdkHandler::new()), wraps_runner, reads)).await;
            assert_eq!(plain, captured.output);
            captured.assert_nothing_lost();
            captured.assert_user(Some("ada"));
            assert_eq!((captured.traces.len(), captured.stats.open), (1, 0), "{}", captured.tree());
            let open: Vec<_> = captured.traces[0].spans.iter().filter(|span| span.ended_at.is_none()).collect();
            assert!(open.is_empty(), "{open:?}");
        });
    }
}

#[tokio::test]
async fn a_model_that_is_asked_alone_answers_the_same() {
    let pieces = vec![crate::kit::partial(vec![crate::kit::text("a")]), Piece::Fail("down")];
    let model = Scripted::turns("m", [pieces]);
    let captured = capture(|| async {
        let mut all = HashMap::new();
        for (which, model) in
            [("plain", model.clone() as Arc<dyn Llm>), ("wrapped", AdkHandler::new().llm(model))]
        {
            let answer =
                model.generate_content(LlmRequest::new("m", vec![question("?")]), true).await.unwrap();
            let pieces: Vec<_> = answer
                .map(|piece| piece.map(|piece| json!(piece)).map_err(|e| e.to_string()))
                .collect()
                .await;
            all.insert(which, pieces);
        }
        assert_eq!(all["plain"], all["wrapped"]);
    })
    .await;
    captured.assert_tree("m ERROR\n└─ LLM m m ERROR: model.internal: down\n");
}
