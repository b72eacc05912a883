//! Switched off, nothing is told to anybody. Whether anything is on is the process's, so this is one test in a process of its own.

use std::{collections::HashMap, sync::Arc};

use langgraph::{
    channels::{Channel, LastValue},
    checkpoint::config::RunnableConfig,
};
use pandaprobe_core::{Client, Config, MemoryExporter};
use pandaprobe_langgraph::LangGraphHandler;
use serde_json::{Value, json};

#[test]
fn nothing_is_told_where_nothing_is_recorded() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        // Looks whether the environment has one.
        assert!(pandaprobe_core::current_client().is_none());
        let client = Client::new(Config::new().enabled(false).exporter(MemoryExporter::default())).unwrap();
        let handler = LangGraphHandler::new().client(client);
        let channel: Box<dyn Channel> = Box::new(LastValue::new("x"));
        let channels = HashMap::from([("x".to_owned(), channel)]);
        let kept = Arc::new(std::sync::Mutex::new(None));
        let seen = Arc::clone(&kept);
        let mut graph = langgraph::graph::StateGraph::new(channels);
        let node = move |_: Value, config: RunnableConfig| {
            *seen.lock().unwrap() = Some(config);
            async { Ok(json!({"x": 1})) }
        };
        graph.add_node("n", handler.node(node)).unwrap().add_edge("__start__", "n").unwrap();
        let config = HashMap::from([("configurable".to_owned(), json!({"thread_id": "t"}))]);
        let out = handler.ainvoke(&graph.compile().unwrap(), &json!({"x": 0}), &config).await.unwrap();
        assert_eq!(out["x"], 1);
        let config = kept.lock().unwrap().take().unwrap();
        assert!(config["configurable"].get("pandaprobe").is_none());
    });
}
