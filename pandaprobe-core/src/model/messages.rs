//! The shape of LLM input and output: `{"messages": [{"role", "content", …}]}`.

use serde_json::{Value, json};

/// Builds `{"messages": [...]}`, the shape in which evaluators and viewers read LLM input and output.
///
/// ```
/// use pandaprobe_core::Messages;
///
/// let input: serde_json::Value = Messages::new().system("Be brief.").user("Hello!").into();
/// assert_eq!(input["messages"][1]["role"], "user");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Messages(Vec<Value>);

impl Messages {
    /// No messages yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a system message.
    pub fn system(self, content: impl Into<Value>) -> Self {
        self.message("system", content)
    }

    /// Adds a user message.
    pub fn user(self, content: impl Into<Value>) -> Self {
        self.message("user", content)
    }

    /// Adds an assistant message.
    pub fn assistant(self, content: impl Into<Value>) -> Self {
        self.message("assistant", content)
    }

    /// Adds the result of a tool call.
    pub fn tool(self, tool_call_id: impl Into<String>, content: impl Into<Value>) -> Self {
        self.push(object([
            ("role", "tool".into()),
            ("tool_call_id", tool_call_id.into().into()),
            ("content", content.into()),
        ]))
    }

    /// Adds a message of any role. `human`, `ai`, `model`, `developer` and `function` become the roles that
    /// the platform knows.
    pub fn message(self, role: &str, content: impl Into<Value>) -> Self {
        self.push(object([("role", known_role(role).into()), ("content", content.into())]))
    }

    /// Adds a message as it is.
    pub fn push(mut self, message: Value) -> Self {
        self.0.push(message);
        self
    }
}

impl From<Messages> for Value {
    fn from(messages: Messages) -> Self {
        object([("messages", Value::Array(messages.0))])
    }
}

impl FromIterator<Value> for Messages {
    fn from_iter<I: IntoIterator<Item = Value>>(messages: I) -> Self {
        Self(messages.into_iter().collect())
    }
}

/// Not by `json!`, which copies its values, and recurses.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn known_role(role: &str) -> &str {
    match role {
        "human" => "user",
        "ai" | "model" => "assistant",
        "developer" => "system",
        "function" => "tool",
        other => other,
    }
}

/// The last user message of `{"messages": [...]}`, again in that shape; any other value unchanged. This is
/// what a trace shows as its input.
pub fn last_user(value: &Value) -> Value {
    last_of(value, "user")
}

/// The last assistant message of `{"messages": [...]}`, again in that shape; any other value unchanged. This
/// is what a trace shows as its output.
pub fn last_assistant(value: &Value) -> Value {
    last_of(value, "assistant")
}

fn last_of(value: &Value, role: &str) -> Value {
    let last = value["messages"].as_array().and_then(|messages| {
        messages.iter().rev().find(|m| m["role"].as_str().map(known_role) == Some(role))
    });
    last.map_or_else(|| value.clone(), |message| json!({"messages": [message]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_messages_are_found_under_any_name_of_their_role() {
        let talk: Value = Messages::new().user("a").assistant("b").user("c").tool("1", "d").into();
        assert_eq!(last_user(&talk), json!({"messages": [{"role": "user", "content": "c"}]}));
        assert_eq!(last_assistant(&talk), json!({"messages": [{"role": "assistant", "content": "b"}]}));
        let human = json!({"messages": [{"role": "human", "content": "h"}, {"role": "ai", "content": "x"}]});
        assert_eq!(last_user(&human), json!({"messages": [{"role": "human", "content": "h"}]}));
        assert_eq!(last_user(&json!("plain")), json!("plain"));
        assert_eq!(last_user(&json!({"messages": 3})), json!({"messages": 3}));
    }
}
