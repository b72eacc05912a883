//! What cannot be seen of a runtime.

/// Something that a runtime does not let anybody see, or does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The runtime: `adk-graph`, `langgraph` or `graph-flow`.
    pub runtime: &'static str,
    /// What is missing.
    pub feature: &'static str,
    /// What is recorded instead, and why.
    pub instead: &'static str,
}

const fn adk(feature: &'static str, instead: &'static str) -> Gap {
    Gap { runtime: "adk-graph", feature, instead }
}

const fn lang(feature: &'static str, instead: &'static str) -> Gap {
    Gap { runtime: "langgraph", feature, instead }
}

const fn flow(feature: &'static str, instead: &'static str) -> Gap {
    Gap { runtime: "graph-flow", feature, instead }
}

/// What each runtime cannot show.
pub const GAPS: &[Gap] = &[
    adk(
        "nodes of a graph that was compiled unwrapped",
        "the run alone: a compiled graph shows nothing of its nodes",
    ),
    adk(
        "a span for the graph inside of a `SubgraphNode`",
        "its nodes stand below the subgraph's node, which runs them",
    ),
    adk(
        "the value of an interrupt in a stream, if no wrapped node asked for it",
        "its text: that is what the runtime says",
    ),
    adk("the state at an interrupt of a stream", "nothing came out: that event has no state"),
    adk(
        "the error of a node, on the run",
        "the runtime's text, which names the node and has the error in it",
    ),
    lang("nodes that run side by side", "one after the other: so the runtime runs the nodes of a step"),
    lang("nodes of a prebuilt agent", "its models and tools, directly below the run: the graph is private"),
    lang(
        "`interrupt_before` and `interrupt_after`",
        "a run that ended: the runtime gives the state and says no more",
    ),
    lang(
        "an interrupt inside of a subgraph, on the run",
        "the node that asked: the runtime goes on with the outer graph",
    ),
    lang(
        "the state that a conditional edge is asked about",
        "what its node wrote: that is what the runtime asks with",
    ),
    lang(
        "what comes out of a stream without `Values`",
        "nothing: the runtime tells its state to those who ask for it",
    ),
    lang(
        "a panic of a node that is not wrapped, in a stream",
        "a run that ended: its task dies, and the stream ends",
    ),
    lang(
        "the end of a stream that is left",
        "`stopped_by_reader`, and what the graph goes on to do below: the runtime runs it to its end",
    ),
    lang(
        "nodes of a stream after a checkpoint of an unwrapped saver",
        "traces of their own: the saver gives back a configuration that leads nowhere; wrap it",
    ),
    lang("a resume in another process", "a trace without the link: its checkpoints have no place for one"),
    flow("conditional edges", "the task that follows: conditions are closures in the builder"),
    flow("supersteps", "the order of the tasks: the runtime does not number them"),
    flow(
        "children of a plain `FanOutTask`",
        "traces of their own: they run in tasks of tokio; use `fan_out`",
    ),
    flow("a flow as one run", "a trace for each call of the runner, of one session: a call is a step"),
    flow("streams", "nothing: the runtime has none"),
    flow("subgraphs", "a flow that a task runs by the handler, below that task: the runtime has none"),
    flow(
        "a resume in another process",
        "a trace without the link: a session has no place for one that tasks do not see",
    ),
];
