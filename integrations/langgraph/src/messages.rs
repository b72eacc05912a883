//! States as the platform reads them: their messages have a role, text and tool calls of one shape.

use serde_json::{Map, Value, json};

/// A state, with its `messages` normalised. All else stays.
pub(crate) fn state(state: Value) -> Value {
    match state {
        Value::Object(mut fields) => {
            if let Some(Value::Array(messages)) = fields.get_mut("messages") {
                messages.iter_mut().for_each(normalise);
            }
            Value::Object(fields)
        }
        other => other,
    }
}

/// Gives a message a `role`, for the `type` that LangChain's messages have, and its tool calls their common shape.
pub(crate) fn normalise(message: &mut Value) {
    let Value::Object(fields) = message else {
        return;
    };
    if !fields.contains_key("role")
        && fields.contains_key("content")
        && let Some(Value::String(kind)) = fields.remove("type")
    {
        fields.insert("role".to_owned(), role(&kind).into());
    }
    if let Some(Value::Array(calls)) = fields.get_mut("tool_calls") {
        calls.iter_mut().for_each(normalise_call);
    }
    if let Some(Value::Array(parts)) = fields.get_mut("content") {
        parts.iter_mut().for_each(by_reference);
    }
    fields.retain(|key, value| key == "content" || !matches!(value, Value::Null) && !is_empty(value));
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

fn role(kind: &str) -> &str {
    match kind {
        "human" | "HumanMessage" | "HumanMessageChunk" => "user",
        "ai" | "AIMessage" | "AIMessageChunk" => "assistant",
        "SystemMessage" | "developer" => "system",
        "ToolMessage" | "function" | "FunctionMessage" => "tool",
        other => other,
    }
}

/// `{"name", "args", "id"}` becomes `{"id", "type": "function", "function": {"name", "arguments"}}`.
fn normalise_call(call: &mut Value) {
    let Value::Object(fields) = call else {
        return;
    };
    if fields.contains_key("function") {
        return;
    }
    let Some(name) = fields.remove("name") else {
        return;
    };
    let arguments = fields.remove("args").or_else(|| fields.remove("arguments")).unwrap_or_default();
    let arguments = match arguments {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let mut normal = Map::new();
    if let Some(id) = fields.remove("id").filter(|id| !id.is_null()) {
        normal.insert("id".to_owned(), id);
    }
    normal.insert("type".to_owned(), "function".into());
    normal.insert("function".to_owned(), json!({"name": name, "arguments": arguments}));
    *fields = normal;
}

/// An image that lies in a `data:` URL is told by its type and size.
fn by_reference(part: &mut Value) {
    let url = match part.pointer_mut("/image_url/url") {
        Some(Value::String(url)) if url.starts_with("data:") => url,
        _ => return,
    };
    let head = url.split(',').next().unwrap_or("data:").to_owned();
    let bytes = (url.len().saturating_sub(head.len() + 1)) / 4 * 3;
    *url = format!("{head},({bytes} bytes)");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::state;

    #[test]
    fn messages_of_a_state_get_roles_and_one_shape_of_tool_calls() {
        let given = json!({"x": 1, "messages": [
            {"type": "human", "content": "weather?", "id": null},
            {"type": "ai", "content": "", "tool_calls": [{"name": "get", "args": {"city": "Oslo"}, "id": "c1"}], "usage": null},
            {"type": "tool", "content": "sunny", "tool_call_id": "c1", "status": "success"},
            {"role": "assistant", "content": "Sunny.", "tool_calls": []},
        ]});
        assert_eq!(
            state(given),
            json!({"x": 1, "messages": [
                {"role": "user", "content": "weather?"},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{\"city\":\"Oslo\"}"}},
                ]},
                {"role": "tool", "content": "sunny", "tool_call_id": "c1", "status": "success"},
                {"role": "assistant", "content": "Sunny."},
            ]})
        );
    }

    #[test]
    fn what_is_no_message_stays() {
        for value in
            [json!(null), json!(["type"]), json!({"messages": 3}), json!({"messages": [1, {"type": "x"}]})]
        {
            assert_eq!(state(value.clone()), value);
        }
    }

    #[test]
    fn an_image_is_a_reference() {
        let image = format!("data:image/png;base64,{}", "A".repeat(4000));
        let given = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]});
        assert_eq!(
            state(given)["messages"][0]["content"][0]["image_url"]["url"],
            "data:image/png;base64,(3000 bytes)"
        );
    }
}
