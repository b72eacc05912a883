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
    /// Section 4, "Messages": input is `{"messages": [{"role", "content", …}]}` whatever the API calls its parts. The
    /// reference sends input items as they are, some without a role.
    Messages,
    /// Section 4, "How a span ends", and the mend that section 4.2 of the reference's description asks for: an
    /// incomplete response is read like a completed one, a failed one is an error. The reference reads
    /// `response.completed` alone.
    TerminalEvents,
    /// Section 1 of the reference's description: metadata is left out where there is none. Its capture scope forgets that.
    EmptyIsLeftOut,
    /// Arguments are captured by name, and `self` never: it is the application's state, and no argument of the caller's.
    SelfIsNoArgument,
    /// A function that returns a stream is followed to the stream's end. The reference records the text of the object that
    /// stands for it.
    StreamsAreFollowed,
    /// Section 7, "embeddings": EMBEDDING spans with model, usage, inputs, count and dimensions. The reference traces
    /// none.
    Embeddings,
    /// Section 5: what a handler wraps is traced in full, whatever entry point the program uses. The reference records
    /// no answer where the program asks for the raw one.
    EveryEntryPoint,
    /// Section 5: one LLM call is one LLM span, however often the client was wrapped.
    OneSpanACall,
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

const EMBEDDING: &str = r#"{"ended_at":"<time>","input":{"messages":[{"content":"hi","role":"user"}]},"kind":"EMBEDDING","model":"text-embedding-3-small","model_parameters":{"encoding_format":"base64"},"name":"openai-embedding","output":{"count":1,"dimensions":2},"span_id":"<UUID>","started_at":"<time>","status":"OK","token_usage":{"prompt_tokens":3,"total_tokens":3}}"#;

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
    differs("09", "traces[0].output.messages[0].content", Rule::LlmOutputShape, r#""Sunny.""#),
    differs("09", "traces[0].output.messages[0].id", Rule::LlmOutputShape, ""),
    differs("09", "traces[0].output.messages[0].phase", Rule::LlmOutputShape, ""),
    differs("09", "traces[0].output.messages[0].status", Rule::LlmOutputShape, ""),
    differs(
        "09",
        "traces[0].output.messages[0].tool_calls",
        Rule::LlmOutputShape,
        r#"[{"function":{"arguments":"{\"city\":\"Paris\"}","name":"get_weather"},"id":"call_1","type":"function"}]"#,
    ),
    differs("09", "traces[0].output.messages[0].type", Rule::LlmOutputShape, ""),
    differs("09", "traces[0].spans[0].metadata.finish_reason", Rule::FinishReason, r#""completed""#),
    differs("09", "traces[0].spans[0].output.messages[0].content", Rule::LlmOutputShape, r#""Sunny.""#),
    differs("09", "traces[0].spans[0].output.messages[0].id", Rule::LlmOutputShape, ""),
    differs("09", "traces[0].spans[0].output.messages[0].phase", Rule::LlmOutputShape, ""),
    differs("09", "traces[0].spans[0].output.messages[0].status", Rule::LlmOutputShape, ""),
    differs(
        "09",
        "traces[0].spans[0].output.messages[0].tool_calls",
        Rule::LlmOutputShape,
        r#"[{"function":{"arguments":"{\"city\":\"Paris\"}","name":"get_weather"},"id":"call_1","type":"function"}]"#,
    ),
    differs("09", "traces[0].spans[0].output.messages[0].type", Rule::LlmOutputShape, ""),
    differs("09", "traces[0].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "128"),
    differs("09", "traces[0].spans[2].input.action.queries", Rule::LlmOutputShape, ""),
    differs("09", "traces[0].spans[2].input.action.sources", Rule::LlmOutputShape, ""),
    differs("09", "traces[1].spans[0].input.messages[0].content", Rule::Messages, r#""q""#),
    differs("09", "traces[1].spans[0].input.messages[1].content", Rule::Messages, "null"),
    differs("09", "traces[1].spans[0].input.messages[1].id", Rule::Messages, ""),
    differs(
        "09",
        "traces[1].spans[0].input.messages[1].reasoning_content",
        Rule::Messages,
        r#""think A\n\nthink B""#,
    ),
    differs("09", "traces[1].spans[0].input.messages[1].role", Rule::Messages, r#""assistant""#),
    differs("09", "traces[1].spans[0].input.messages[1].summary", Rule::Messages, ""),
    differs(
        "09",
        "traces[1].spans[0].input.messages[1].tool_calls",
        Rule::Messages,
        r#"[{"function":{"arguments":"{\"city\":\"Paris\"}","name":"get_weather"},"id":"call_1","type":"function"}]"#,
    ),
    differs("09", "traces[1].spans[0].input.messages[1].type", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[2].arguments", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[2].call_id", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[2].content", Rule::Messages, r#""sunny""#),
    differs("09", "traces[1].spans[0].input.messages[2].id", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[2].name", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[2].role", Rule::Messages, r#""tool""#),
    differs("09", "traces[1].spans[0].input.messages[2].status", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[2].tool_call_id", Rule::Messages, r#""call_1""#),
    differs("09", "traces[1].spans[0].input.messages[2].type", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[3].call_id", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[3].output", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].input.messages[3].type", Rule::Messages, ""),
    differs("09", "traces[1].spans[0].metadata.finish_reason", Rule::FinishReason, r#""completed""#),
    differs(
        "09",
        "traces[1].spans[0].output.messages",
        Rule::LlmOutputShape,
        r#"[{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Paris\"}","name":"get_weather"},"id":"call_1","type":"function"}]}]"#,
    ),
    differs("09", "traces[1].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "128"),
    differs("10", "traces[0].output.messages[0].content", Rule::LlmOutputShape, r#""Sunny.""#),
    differs("10", "traces[0].output.messages[0].id", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].output.messages[0].phase", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].output.messages[0].status", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].output.messages[0].type", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].spans[0].metadata.finish_reason", Rule::FinishReason, r#""completed""#),
    differs("10", "traces[0].spans[0].output.messages[0].content", Rule::LlmOutputShape, r#""Sunny.""#),
    differs("10", "traces[0].spans[0].output.messages[0].id", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].spans[0].output.messages[0].phase", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].spans[0].output.messages[0].status", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].spans[0].output.messages[0].type", Rule::LlmOutputShape, ""),
    differs("10", "traces[0].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "128"),
    differs(
        "10",
        "traces[1].output.messages",
        Rule::TerminalEvents,
        r#"[{"content":"Sunny.","role":"assistant"}]"#,
    ),
    differs("10", "traces[1].spans[0].metadata.finish_reason", Rule::FinishReason, r#""max_output_tokens""#),
    differs("10", "traces[1].spans[0].model", Rule::TerminalEvents, r#""gpt-5-mini-2025-08-07""#),
    differs(
        "10",
        "traces[1].spans[0].output.messages",
        Rule::TerminalEvents,
        r#"[{"content":"Sunny.","role":"assistant"}]"#,
    ),
    differs("10", "traces[1].spans[0].token_usage.cache_read_tokens", Rule::TerminalEvents, "128"),
    differs("10", "traces[1].spans[0].token_usage.completion_tokens", Rule::TerminalEvents, "80"),
    differs("10", "traces[1].spans[0].token_usage.prompt_tokens", Rule::TerminalEvents, "200"),
    differs("10", "traces[1].spans[0].token_usage.reasoning_tokens", Rule::TerminalEvents, "30"),
    differs("10", "traces[1].spans[0].token_usage.total_tokens", Rule::TerminalEvents, "280"),
    differs(
        "10",
        r#"traces[2].metadata["pandaprobe.error"]"#,
        Rule::ErrorOfATrace,
        r#""boom (code: server_error)""#,
    ),
    differs("10", "traces[2].status", Rule::TerminalEvents, r#""ERROR""#),
    differs("10", "traces[2].spans[0].error", Rule::TerminalEvents, r#""boom (code: server_error)""#),
    differs("10", "traces[2].spans[0].metadata.finish_reason", Rule::FinishReason, r#""failed""#),
    differs("10", "traces[2].spans[0].model", Rule::TerminalEvents, r#""gpt-5-mini-2025-08-07""#),
    differs("10", "traces[2].spans[0].status", Rule::TerminalEvents, r#""ERROR""#),
    differs(
        "10",
        "traces[3].output.messages",
        Rule::ToolCallsInStreams,
        r#"[{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Paris\"}","name":"get_weather"},"id":"call_1","type":"function"}]}]"#,
    ),
    differs("10", "traces[3].spans[0].completion_start_time", Rule::FirstToken, r#""<time>""#),
    differs("10", "traces[3].spans[0].metadata.finish_reason", Rule::FinishReason, r#""completed""#),
    differs(
        "10",
        "traces[3].spans[0].output.messages",
        Rule::ToolCallsInStreams,
        r#"[{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Paris\"}","name":"get_weather"},"id":"call_1","type":"function"}]}]"#,
    ),
    differs("10", "traces[3].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "128"),
    differs(
        "11",
        "traces[4].spans[0].error",
        Rule::ErrWithSources,
        r#""400: limit reached (type: invalid_request_error, code: invalid_request_error)""#,
    ),
    differs("24", "traces[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("24", "traces[0].spans[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].spans[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].spans[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].spans[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].spans[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[0].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs(
        "24",
        "traces[1].output.messages",
        Rule::EveryEntryPoint,
        r#"[{"content":"Sunny.","role":"assistant"}]"#,
    ),
    differs("24", "traces[1].spans[0].metadata.finish_reason", Rule::FinishReason, r#""completed""#),
    differs("24", "traces[1].spans[0].model", Rule::EveryEntryPoint, r#""gpt-5-mini-2025-08-07""#),
    differs(
        "24",
        "traces[1].spans[0].output.messages",
        Rule::EveryEntryPoint,
        r#"[{"content":"Sunny.","role":"assistant"}]"#,
    ),
    differs("24", "traces[1].spans[0].token_usage.cache_read_tokens", Rule::EveryEntryPoint, "128"),
    differs("24", "traces[1].spans[0].token_usage.completion_tokens", Rule::EveryEntryPoint, "80"),
    differs("24", "traces[1].spans[0].token_usage.prompt_tokens", Rule::EveryEntryPoint, "200"),
    differs("24", "traces[1].spans[0].token_usage.reasoning_tokens", Rule::EveryEntryPoint, "30"),
    differs("24", "traces[1].spans[0].token_usage.total_tokens", Rule::EveryEntryPoint, "280"),
    differs("24", "traces[2].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("24", "traces[2].spans[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].spans[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].spans[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].spans[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].spans[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[2].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("24", "traces[3].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("24", "traces[3].spans[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].spans[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].spans[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].spans[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[3].spans[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[4].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("24", "traces[5].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].spans[0].metadata.finish_reason", Rule::FinishReason, r#""stop""#),
    differs("24", "traces[5].spans[0].output.messages[0].annotations", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].spans[0].output.messages[0].audio", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].spans[0].output.messages[0].function_call", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].spans[0].output.messages[0].refusal", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].spans[0].output.messages[0].tool_calls", Rule::LlmOutputShape, ""),
    differs("24", "traces[5].spans[0].token_usage.cache_read_tokens", Rule::TokenUsage, "64"),
    differs("24", "traces[5].spans[1]", Rule::OneSpanACall, ""),
    differs("12", "traces[0].spans[0]", Rule::Embeddings, EMBEDDING),
    differs("21", "traces[2].input.self", Rule::SelfIsNoArgument, ""),
    differs("21", "traces[4].output", Rule::StreamsAreFollowed, ""),
    differs("21", r#"traces[5].metadata["pandaprobe.error"]"#, Rule::ErrorOfATrace, r#""no q""#),
    differs("22", "traces[3].metadata", Rule::EmptyIsLeftOut, ""),
];
