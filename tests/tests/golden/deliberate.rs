//! Where this SDK differs from the reference SDK on purpose.

/// One difference.
#[derive(Debug)]
pub(crate) struct Deliberate {
    /// The number of the recording.
    pub(crate) file: &'static str,
    /// Which field of it.
    pub(crate) path: &'static str,
    /// What asks for it.
    pub(crate) rule: Rule,
    /// What we post there, as JSON; empty if nothing.
    pub(crate) ours: &'static str,
}

/// The rules of the architecture that ask for a difference.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// Section 7, "LLM output shape": one normalised message. The reference dumps the library's object, with its
    /// empty fields.
    LlmOutputShape,
    /// Section 4, "Token usage", and section 7, "token usage": `cache_read_tokens` has one meaning for every provider.
    /// The reference maps it for some.
    TokenUsage,
    /// Section 7, "finish reason": `metadata["finish_reason"]` of the LLM span.
    FinishReason,
    /// Section 7, "tool calls in streams": merged and recorded.
    ToolCallsInStreams,
    /// Section 7, "error of a trace": also in `metadata["pandaprobe.error"]`.
    ErrorOfATrace,
    /// Section 4, "Identity": an id that is empty or too long blocks its slot, and the trace says so in `metadata`.
    IdentityBlocked,
    /// Section 4, "Identity", `set_user`: outside of any scope it sets the default of the process, all its threads
    /// included. The reference sets that of one thread.
    ProcessDefault,
    /// Section 4, "Traces and spans": a trace opened while another is current is linked to it by
    /// `metadata["pandaprobe.parent_trace_id"]`.
    NestedTraceLinked,
    /// Section 4, "How a span ends", row "`Err(e)`": the text is that of `e` with its sources, and `e` is another
    /// library's.
    ErrWithSources,
    /// Section 4, "How a span ends", row "future dropped before it finished": `cancelled`, and
    /// `metadata["pandaprobe.end"]`. For a trace, whose root ends so, too.
    HowASpanEndsCancelled,
    /// Section 4, "How a span ends", row "stream dropped by its reader before its terminal event": `OK`, and
    /// `metadata["pandaprobe.end"]`.
    HowASpanEndsStoppedByReader,
    /// Section 4, "How a span ends": an error changes the status and the error of a span; what was read of an answer
    /// before is kept, and with it the model that gave it.
    WhatWasReadIsKept,
    /// Section 4, "The end of a trace", and "time to first token": the first piece of content, reasoning or a tool
    /// call. A chunk with no more than a role is none.
    FirstToken,
    /// One span a logical call, retries counted in `metadata["attempts"]`.
    RetriesCounted,
}

const fn differs(file: &'static str, path: &'static str, rule: Rule, ours: &'static str) -> Deliberate {
    Deliberate { file, path, rule, ours }
}

const TWO_CALLS: &str = r#"[{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Paris\"}","name":"get_weather"},"id":"call_1","type":"function"},{"function":{"arguments":"{\"city\":\"Rome\"}","name":"get_weather"},"id":"call_2","type":"function"}]}]"#;
const NAMELESS_CALL: &str = r#"[{"function":{"arguments":"{\"city\":\"Paris\"}","name":""},"type":"function"},{"function":{"arguments":"{\"city\":\"Rome\"}","name":"get_weather"},"id":"call_2","type":"function"}]"#;
const LIMITED: &str = r#""429: limit reached (type: rate_limit_exceeded, code: rate_limit_exceeded)""#;
const BROKEN: &str = r#""500: limit reached (type: server_error, code: server_error)""#;
const CUT: &str = r#""error decoding response body: error reading a body from connection: unexpected EOF during chunk size line""#;
const MID_STREAM: &str = r#""mid stream (type: server_error, code: x)""#;

/// All of them.
pub(crate) const DELIBERATE: &[Deliberate] = &[
    differs("02", "traces[6].session_id", Rule::ProcessDefault, r#""sess-set""#),
    differs("02", "traces[6].user_id", Rule::ProcessDefault, r#""user-set""#),
    differs(
        "03",
        r#"traces[0].metadata["pandaprobe.parent_trace_id"]"#,
        Rule::NestedTraceLinked,
        r#""<id of traces[1]>""#,
    ),
    differs(
        "03",
        r#"traces[2].metadata["pandaprobe.session_id"]"#,
        Rule::IdentityBlocked,
        r#""refused: the id is empty""#,
    ),
    differs(
        "03",
        r#"traces[2].metadata["pandaprobe.user_id"]"#,
        Rule::IdentityBlocked,
        r#""refused: the id is empty""#,
    ),
    differs("03", "traces[2].session_id", Rule::IdentityBlocked, ""),
    differs("03", "traces[2].user_id", Rule::IdentityBlocked, ""),
    differs("05", r#"traces[0].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, r#""kaputt""#),
    differs("05", r#"traces[2].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, r#""raised""#),
    differs("05", r#"traces[3].metadata["pandaprobe.end"]"#, Rule::HowASpanEndsCancelled, r#""cancelled""#),
    differs("05", r#"traces[3].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, r#""cancelled""#),
    differs("05", "traces[3].spans[0].error", Rule::HowASpanEndsCancelled, r#""cancelled""#),
    differs(
        "05",
        r#"traces[3].spans[0].metadata["pandaprobe.end"]"#,
        Rule::HowASpanEndsCancelled,
        r#""cancelled""#,
    ),
    differs("06", "traces[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("06", "traces[0].spans[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].spans[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].spans[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].spans[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].spans[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("06", "traces[0].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("06", "traces[1].spans[1].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("06", "traces[1].spans[1].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("06", "traces[1].spans[1].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("06", "traces[1].spans[1].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("06", "traces[1].spans[1].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("06", "traces[1].spans[1].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("06", "traces[1].spans[1].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("07", "traces[0].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("07", "traces[0].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("07", "traces[1].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs(
        "07",
        r#"traces[2].spans[0].metadata["pandaprobe.end"]"#,
        Rule::HowASpanEndsStoppedByReader,
        r#""stopped_by_reader""#,
    ),
    differs("08", "traces[0].output.messages", Rule::ToolCallsInStreams, TWO_CALLS),
    differs("08", "traces[0].spans[0].metadata.finish_reason", Rule::FinishReason, r#""tool_calls""#),
    differs("08", "traces[0].spans[0].output.messages", Rule::ToolCallsInStreams, TWO_CALLS),
    differs("08", "traces[0].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("08", "traces[1].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].spans[0].metadata.finish_reason", Rule::FinishReason, r#""tool_calls""#),
    differs("08", "traces[1].spans[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].spans[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].spans[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].spans[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("08", "traces[1].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("08", "traces[2].output.messages[0].tool_calls", Rule::ToolCallsInStreams, NAMELESS_CALL),
    differs("08", "traces[2].spans[0].metadata.finish_reason", Rule::FinishReason, r#""tool_calls""#),
    differs(
        "08",
        "traces[2].spans[0].output.messages[0].tool_calls",
        Rule::ToolCallsInStreams,
        NAMELESS_CALL,
    ),
    differs("08", "traces[2].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("11", r#"traces[0].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, LIMITED),
    differs("11", "traces[0].spans[0].error", Rule::ErrWithSources, LIMITED),
    differs("11", r#"traces[1].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, BROKEN),
    differs("11", "traces[1].spans[0].error", Rule::ErrWithSources, BROKEN),
    differs("11", "traces[2].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].spans[0].metadata.attempts", Rule::RetriesCounted, "2"),
    differs("11", "traces[2].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("11", "traces[2].spans[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].spans[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].spans[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].spans[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].spans[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("11", "traces[2].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("11", r#"traces[3].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, LIMITED),
    differs("11", "traces[3].spans[0].error", Rule::ErrWithSources, LIMITED),
    differs("11", r#"traces[5].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, CUT),
    differs("11", "traces[5].spans[0].error", Rule::ErrWithSources, CUT),
    differs("11", r#"traces[6].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, MID_STREAM),
    differs("11", "traces[6].spans[0].error", Rule::ErrWithSources, MID_STREAM),
    differs(
        "11",
        "traces[7].output.messages",
        Rule::HowASpanEndsStoppedByReader,
        r#"[{"content":"","role":"assistant"}]"#,
    ),
    differs("11", "traces[7].status", Rule::HowASpanEndsStoppedByReader, r#""COMPLETED""#),
    differs("11", "traces[7].spans[0].error", Rule::HowASpanEndsStoppedByReader, ""),
    differs(
        "11",
        r#"traces[7].spans[0].metadata["pandaprobe.end"]"#,
        Rule::HowASpanEndsStoppedByReader,
        r#""stopped_by_reader""#,
    ),
    differs(
        "11",
        "traces[7].spans[0].model",
        Rule::HowASpanEndsStoppedByReader,
        r#""gpt-4o-mini-2024-07-18""#,
    ),
    differs(
        "11",
        "traces[7].spans[0].output.messages",
        Rule::HowASpanEndsStoppedByReader,
        r#"[{"content":"","role":"assistant"}]"#,
    ),
    differs("11", "traces[7].spans[0].status", Rule::HowASpanEndsStoppedByReader, r#""OK""#),
    differs(
        "11",
        "traces[5].output.messages",
        Rule::WhatWasReadIsKept,
        r#"[{"content":"Hello","role":"assistant"}]"#,
    ),
    differs("11", "traces[5].spans[0].model", Rule::WhatWasReadIsKept, r#""gpt-4o-mini-2024-07-18""#),
    differs(
        "11",
        "traces[5].spans[0].output.messages",
        Rule::WhatWasReadIsKept,
        r#"[{"content":"Hello","role":"assistant"}]"#,
    ),
    differs(
        "11",
        "traces[6].output.messages",
        Rule::WhatWasReadIsKept,
        r#"[{"content":"Hel","role":"assistant"}]"#,
    ),
    differs("11", "traces[6].spans[0].model", Rule::WhatWasReadIsKept, r#""gpt-4o-mini-2024-07-18""#),
    differs(
        "11",
        "traces[6].spans[0].output.messages",
        Rule::WhatWasReadIsKept,
        r#"[{"content":"Hel","role":"assistant"}]"#,
    ),
    differs("11", "traces[7].spans[0].completion_start_time", Rule::FirstToken, ""),
];
