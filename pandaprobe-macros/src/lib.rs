#![doc = include_str!("../README.md")]

mod arguments;
mod expand;
mod function;

use proc_macro::TokenStream;

use arguments::Target;

/// Makes each call of a function a trace: one run of an agent.
///
/// ```
/// # struct Answer;
/// # #[derive(Debug, thiserror::Error)]
/// # #[error("no answer")]
/// # struct Error;
/// #[pandaprobe::trace(name = "support-agent", user_id = user, tags = ["beta"])]
/// async fn support_agent(user: &str, question: String) -> Result<Answer, Error> {
///     Err(Error)
/// }
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
/// Values are expressions over the function's arguments, evaluated before its body; an argument or a field of one is
/// cloned, not moved.
///
/// It goes on functions, asynchronous ones, methods, methods under `#[async_trait]`, and functions that return `impl Future`,
/// `impl Stream`, a boxed one (`Pin<Box<dyn …>>`, `BoxFuture`, `BoxStream`), or a `Result` of a stream. What it stands for
/// ends when the value is there or the stream has ended. Types are told by their names as they are written, so a type alias
/// of a future or stream counts as a plain value. What a function does before it returns `impl Future` or `impl Stream` is
/// not part of it: that begins when the future or stream is first polled.
///
/// `Err` makes it an error, and so does an `Err` that is the last item read from a stream. The text is that of the error with
/// its sources; if it is no `std::error::Error`, its `Display`, else its `Debug`, else the name of its type.
///
/// Arguments are captured by name, `self` never: through `Serialize` where the type has it, else `Debug`, else by the name of
/// the type; at most 64 KiB of each (1 MiB of one called `messages`), the rest is cut, and said so where it is missing. Types whose name shows a
/// lock (`Mutex`, `RwLock`, `DashMap`, …) are told by name alone; one that hides a lock inside and waits for it when it is
/// serialised wants `skip`. A generic argument is captured by what its bounds say. Arguments whose names begin with `__` are
/// not captured.
/// The input is all of them, or the last message of the user if one is called `messages`. The output is what the function
/// returns (of a `Result` what `Ok` holds, of a stream nothing), or the last message of the assistant if it has `messages`.
/// Nothing is captured where nothing is recorded.
#[proc_macro_attribute]
pub fn trace(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Target::Trace, attribute.into(), item.into()).into()
}

/// Makes each call of a function a span: one step of the trace that is current. Without a trace it is just the function.
///
/// ```
/// # struct Api;
/// # struct Document;
/// # type Error = std::io::Error;
/// #[pandaprobe::span(kind = "TOOL", skip(api))]
/// async fn search(api: &Api, query: &str) -> Result<Vec<Document>, Error> {
///     Ok(Vec::new())
/// }
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
