#![doc = include_str!("../README.md")]

mod arguments;
mod expand;
mod function;

use proc_macro::TokenStream;

use arguments::Target;

/// Makes each call of a function a trace: one run of an agent.
///
/// ```text
/// #[pandaprobe::trace(name = "support-agent", user_id = user, tags = ["beta"])]
/// async fn support_agent(user: &str, question: String) -> Result<Answer, Error> { … }
/// ```
///
/// | key | value | default |
/// |---|---|---|
/// | `name` | anything that is `Into<String>` | the function's name |
/// | `session_id`, `user_id` | an id, or an `Option` of one: `None` says nothing | what scopes say |
/// | `tags` | `["one", "two"]` | |
/// | `metadata` | `{"key": value, …}`, values that are `Into<serde_json::Value>` | |
/// | `client` | a `pandaprobe::Client` | the current one |
/// | `skip(a, b)` | arguments that are not captured | |
/// | `capture_output` | `true` or `false` | `true` |
/// | `crate` | the path of `pandaprobe`, if it has another name | `::pandaprobe` |
///
/// Values are expressions over the function's arguments, evaluated before its body.
///
/// It goes on functions, asynchronous ones, methods, functions that return `impl Future`, `Pin<Box<dyn Future>>` or
/// `impl Stream`, and methods under `#[async_trait]`. `Err` makes the trace an error.
///
/// Arguments are captured by name, `self` never: through `Serialize` where the type has it, else `Debug`, else by the name of
/// the type; what holds a lock by name alone; at most 64 KiB of each. A generic argument is captured by what its bounds say.
/// The input is all of them, or the last message of the user if one is called `messages`. The output is what the function
/// returns (of a `Result` what `Ok` holds), or the last message of the assistant if it has `messages`. Nothing is captured
/// where nothing is recorded.
#[proc_macro_attribute]
pub fn trace(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Target::Trace, attribute.into(), item.into()).into()
}

/// Makes each call of a function a span: one step of the trace that is current. Without a trace it is just the function.
///
/// ```text
/// #[pandaprobe::span(kind = "TOOL", skip(api))]
/// async fn search(api: &Api, query: &str) -> Result<Vec<Document>, Error> { … }
/// ```
///
/// | key | value | default |
/// |---|---|---|
/// | `name` | anything that is `Into<String>` | the function's name |
/// | `kind` | `"AGENT"`, `"TOOL"`, `"LLM"`, `"RETRIEVER"`, `"CHAIN"`, `"EMBEDDING"`, `"OTHER"`, or a `SpanKind` | `"OTHER"` |
/// | `model` | anything that is `Into<String>` | |
/// | `metadata`, `skip`, `capture_output`, `crate` | as for a trace | |
///
/// All else is as for `#[trace]`. Of several attributes the one next to the function is the outer one.
#[proc_macro_attribute]
pub fn span(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Target::Span, attribute.into(), item.into()).into()
}
