//! What the tests of all runtimes share.

use pandaprobe_core::{SpanData, TraceData, testing::Captured};

/// The span of that name, of which there is one.
#[track_caller]
pub(crate) fn span<'a>(trace: &'a TraceData, name: &str) -> &'a SpanData {
    let mut named = trace.spans.iter().filter(|span| span.name == name);
    match (named.next(), named.next()) {
        (Some(span), None) => span,
        _ => panic!("not one span {name:?} in {:#?}", trace.spans),
    }
}

/// The trace that was recorded, of which there is one.
pub(crate) fn one<T>(captured: &Captured<T>) -> &TraceData {
    match captured.traces.as_slice() {
        [one] => one,
        _ => panic!("not one trace:\n{}", captured.tree()),
    }
}

/// What goes wrong in a graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The node `tools` fails.
    Node,
    /// The model fails.
    Model,
    /// The tool fails, and the node makes something of it.
    Tool,
}
