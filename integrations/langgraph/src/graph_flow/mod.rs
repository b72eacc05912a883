//! Graphs of `graph-flow`.

mod fan_out;
mod run;
mod storage;
mod task;

pub use fan_out::TracedFanOut;
use graph_flow::{Context, MessageRole, NextAction};
use serde_json::{Value, json};

/// What is in a context: its data, and its chat as messages.
fn context_value(context: &Context) -> Value {
    let Ok(Value::Object(mut parts)) = serde_json::to_value(context) else {
        return Value::Null;
    };
    let mut fields = match parts.remove("data") {
        Some(Value::Object(data)) => data,
        _ => serde_json::Map::new(),
    };
    let chat = context.get_all_messages();
    if !chat.is_empty() {
        let messages =
            chat.into_iter().map(|said| json!({"role": role(&said.role), "content": said.content}));
        fields.insert("messages".to_owned(), messages.collect());
    }
    Value::Object(fields)
}

fn role(role: &MessageRole) -> &'static str {
    match role {
        MessageRole::User => "user",
        MessageRole::Assistant => "assistant",
        MessageRole::System => "system",
    }
}

fn action(action: &NextAction) -> &'static str {
    match action {
        NextAction::Continue => "Continue",
        NextAction::ContinueAndExecute => "ContinueAndExecute",
        NextAction::GoTo(_) => "GoTo",
        NextAction::End => "End",
        NextAction::WaitForInput => "WaitForInput",
    }
}
