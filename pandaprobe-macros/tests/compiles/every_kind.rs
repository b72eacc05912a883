#[pandaprobe::span(kind = "AGENT")]
fn agent() {}
#[pandaprobe::span(kind = "TOOL")]
fn tool() {}
#[pandaprobe::span(kind = "LLM")]
fn llm() {}
#[pandaprobe::span(kind = "RETRIEVER")]
fn retriever() {}
#[pandaprobe::span(kind = "CHAIN")]
fn chain() {}
#[pandaprobe::span(kind = "EMBEDDING")]
fn embedding() {}
#[pandaprobe::span(kind = "OTHER")]
fn other() {}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(|| async {
        pandaprobe::trace("t")
            .scope(async |_| {
                agent();
                tool();
                llm();
                retriever();
                chain();
                embedding();
                other();
            })
            .await;
    });
    captured.assert_tree("t COMPLETED|├─ AGENT agent OK|├─ TOOL tool OK|├─ LLM llm OK|├─ RETRIEVER retriever OK|├─ CHAIN chain OK|├─ EMBEDDING embedding OK|└─ OTHER other OK|".replace('|', "\n").as_str());
}
