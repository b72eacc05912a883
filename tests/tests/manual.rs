//! The samples of traces and spans written by hand, as they stand in the example.

#[path = "../../examples/manual/src/samples.rs"]
mod samples;

use futures_util::StreamExt;
use pandaprobe::testing::capture;
use serde_json::json;

#[tokio::test]
async fn every_sample_records_what_it_says() {
    let captured = capture(|| async {
        let trace = samples::steps().await;
        samples::scores(trace);
        assert!(samples::errors().await.is_err());
        samples::cancelled().await;
        samples::nested();
        pandaprobe::Scope::current().scope(samples::handles()).await;
        let answer: String = samples::chat("ada".to_owned(), "What is new?".to_owned()).collect().await;
        assert_eq!(answer, "NOT MUCH.");
    })
    .await;
    captured.assert_tree(
        "rag COMPLETED tags=docs\n├─ RETRIEVER search OK\n└─ LLM answer gpt-x 12→3 tokens OK\n\
         job ERROR\n├─ TOOL tool ERROR: not now\n└─ OTHER disk ERROR: full\n\
         endless ERROR\n\
         inner COMPLETED\nouter COMPLETED\n\
         pipeline COMPLETED\n├─ OTHER part-0 OK\n└─ OTHER part-1 OK\n\
         chat COMPLETED user=ada\n├─ CHAIN shout OK\n└─ CHAIN shout OK\n",
    );
    captured.assert_nothing_lost();
    let inner = captured.trace("inner").metadata["pandaprobe.parent_trace_id"].clone();
    assert_eq!(inner, json!(captured.trace("outer").trace_id));
    let scores: Vec<(&str, &str)> =
        captured.scores.iter().map(|score| (score.data_type.as_str(), score.value.as_str())).collect();
    assert_eq!(scores, [("NUMERIC", "0.8"), ("BOOLEAN", "true"), ("CATEGORICAL", "friendly")]);
    let llm = captured.span("answer");
    assert!(llm.completion_start_time.is_some() && llm.cost.is_some() && llm.model_parameters.is_some());
}
