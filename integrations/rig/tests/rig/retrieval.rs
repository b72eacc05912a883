//! Retrievals: of the program itself, and of agents.

use std::{collections::HashSet, time::Duration};

use pandaprobe_core::{ReportKind, SpanKind, testing::capture, user};
use pandaprobe_rig::{BuildTraced, RigHandler};
use rig::{
    embeddings::EmbeddingsBuilder,
    prelude::*,
    test_utils::{MockCompletionModel, MockEmbeddings, MockTurn},
    vector_store::{
        VectorSearchIdResult, VectorSearchRequest, VectorSearchResult, VectorStoreError, VectorStoreIndex,
        in_memory_store::InMemoryVectorStore, request::Filter,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An index that takes its time, records a step, and knows one document for each query.
#[derive(Clone)]
struct Slow;

impl VectorStoreIndex for Slow {
    type Filter = Filter<Value>;

    async fn top_n<T: DeserializeOwned + Send>(
        &self,
        request: VectorSearchRequest<Filter<Value>>,
    ) -> Result<Vec<VectorSearchResult<T>>, VectorStoreError> {
        if request.query() == "broken" {
            return Err(VectorStoreError::MissingIdError("the index is gone".to_owned()));
        }
        let embedding = pandaprobe_core::span("embed").kind(SpanKind::Embedding).input(request.query());
        embedding.scope(tokio::time::sleep(Duration::from_millis(request.query().len() as u64 % 7))).await;
        let document = serde_json::from_value(json!({"about": request.query()}))?;
        Ok(vec![VectorSearchResult { score: 0.5, id: "doc-1".to_owned(), document }])
    }

    async fn top_n_ids(
        &self,
        _: VectorSearchRequest<Filter<Value>>,
    ) -> Result<Vec<VectorSearchIdResult>, VectorStoreError> {
        Ok(vec![VectorSearchIdResult { score: 0.5, id: "doc-1".to_owned() }])
    }
}

fn request(query: &str) -> VectorSearchRequest<Filter<Value>> {
    VectorSearchRequest::builder().query(query).samples(3).threshold(0.2).build()
}

#[derive(serde::Deserialize, Debug, PartialEq)]
struct Note {
    about: String,
}

#[tokio::test]
async fn an_index_that_the_program_asks_is_traced_where_it_is() {
    let captured = capture(|| async {
        let index = RigHandler::new().index(Slow);
        user("ada")
            .scope(async {
                let found = index.top_n::<Note>(request("owls")).await.unwrap();
                assert_eq!(found[0].document, Note { about: "owls".to_owned() });
                assert_eq!(index.top_n_ids(request("owls")).await.unwrap().len(), 1);
                index.top_n::<Note>(request("broken")).await.unwrap_err();
                // What is no note is an error with the wrapper as it is without.
                let (with, without) =
                    (index.top_n::<u8>(request("x")).await, Slow.top_n::<u8>(request("x")).await);
                assert!(matches!(
                    (with, without),
                    (Err(VectorStoreError::JsonError(_)), Err(VectorStoreError::JsonError(_)))
                ));
            })
            .await;
    })
    .await;
    captured.assert_user(Some("ada"));
    let spans: Vec<_> = captured.traces.iter().map(|trace| trace.span("retrieve").unwrap()).collect();
    assert!(spans.iter().all(|span| span.kind == SpanKind::Retriever));
    assert_eq!(spans[0].input, Some(json!({"query": "owls", "samples": 3, "threshold": 0.2})));
    assert_eq!(spans[0].output, Some(json!([{"id": "doc-1", "score": 0.5, "document": {"about": "owls"}}])));
    assert_eq!(spans[1].output, Some(json!([{"id": "doc-1", "score": 0.5}])));
    assert!(spans[2].error.as_ref().unwrap().contains("the index is gone"));
    assert_eq!(captured.traces[0].spans.len(), 2, "the embedding is below it");
}

#[tokio::test]
async fn an_index_of_rigs_own_is_traced_in_a_run() {
    let captured = capture(|| async {
        let embeddings = MockEmbeddings::model();
        let documents = ["alpha".to_owned(), "beta".to_owned()];
        let documents = EmbeddingsBuilder::new(embeddings.clone()).documents(documents).unwrap();
        let store = InMemoryVectorStore::from_documents(documents.build().await.unwrap());
        let handler = RigHandler::new().user_id("ada");
        let agent = AgentBuilder::new(MockCompletionModel::from_turns([MockTurn::text("it is alpha")]))
            .dynamic_context(1, handler.index(store.index(embeddings)))
            .build_traced(&handler);
        agent.prompt("which?").await.unwrap();
    })
    .await;
    captured.assert_nothing_lost();
    captured.assert_tree(
        "agent COMPLETED user=ada\n\
         └─ AGENT agent OK\n\
         \x20  ├─ RETRIEVER retrieve OK\n\
         \x20  └─ LLM chat mock-model OK\n",
    );
    let found = captured.span("retrieve").output.clone().unwrap();
    assert_eq!(captured.span("chat").metadata["documents"][0]["id"], found[0]["id"]);
}

#[tokio::test]
async fn a_retrieval_that_fails_fails_its_run() {
    let captured = capture(|| async {
        let handler = RigHandler::new();
        let agent = AgentBuilder::new(MockCompletionModel::from_turns([]))
            .dynamic_context(1, handler.index(Slow))
            .build_traced(&handler);
        agent.prompt("broken").await.unwrap_err();
    })
    .await;
    let retrieval = captured.span("retrieve");
    assert!(retrieval.error.as_ref().unwrap().contains("the index is gone"));
    assert!(captured.span("agent").error.as_ref().unwrap().contains("the index is gone"));
}

/// Many at once, of which some ask the same.
async fn ask_all(is_wrapped: bool, ask: impl Fn(usize) -> String) -> pandaprobe_core::testing::Captured<()> {
    capture(|| async {
        let handler = RigHandler::new();
        let builder =
            AgentBuilder::new(MockCompletionModel::from_turns((0..100).map(|_| MockTurn::text("so"))));
        let agent = match is_wrapped {
            true => builder.dynamic_context(1, handler.index(Slow)).build_traced(&handler),
            false => builder.dynamic_context(1, Slow).build_traced(&handler),
        };
        let runs = (0..100).map(|run| {
            let runner = agent.prompt(ask(run)).traced(&handler.clone().user_id(format!("user-{run}")));
            pandaprobe_core::spawn(async move { runner.await.unwrap() })
        });
        for run in runs.collect::<Vec<_>>() {
            run.await.unwrap();
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn retrievals_of_overlapping_runs_stay_apart() {
    let captured = ask_all(true, |run| format!("question {run}")).await;
    captured.assert_nothing_lost();
    assert_eq!(captured.traces.len(), 100);
    for trace in &captured.traces {
        let number = trace.user_id.as_ref().unwrap().trim_start_matches("user-");
        let retrieval = trace.span("retrieve").unwrap();
        assert_eq!(retrieval.input.as_ref().unwrap()["query"], json!(format!("question {number}")));
        let embedding = trace.span("embed").unwrap();
        assert_eq!(embedding.parent_span_id, Some(retrieval.span_id));
        assert_eq!(embedding.input, Some(json!(format!("question {number}"))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_two_runs_could_have_asked_neither_did() {
    let captured = ask_all(true, |_| "what is new?".to_owned()).await;
    let users: HashSet<_> = captured.traces.iter().filter_map(|trace| trace.user_id.clone()).collect();
    assert_eq!(users.len(), 100);
    let of_nobody = captured.traces.iter().filter(|trace| trace.name == "retrieve").count();
    assert!(captured.traces.iter().all(|trace| trace.user_id.is_some() || trace.name == "retrieve"));
    let in_runs =
        captured.traces.iter().filter(|trace| trace.name != "retrieve" && trace.span("retrieve").is_some());
    // The last that is left is alone, and may be known.
    assert!(in_runs.count() + of_nobody <= 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_unwrapped_index_records_is_nobodys() {
    let captured = ask_all(false, |run| format!("question {run}")).await;
    assert_eq!(captured.traces.len(), 100);
    for trace in &captured.traces {
        assert!(trace.span("embed").is_none(), "{}", captured.tree());
    }
    let _ = captured.reported(ReportKind::IdentityWithheld);
}
