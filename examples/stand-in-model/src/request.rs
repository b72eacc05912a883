use serde_json::{Map, Value};

use crate::wire::ApiError;

/// A chat completions request, as the model sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChatRequest {
    /// The model asked for.
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The functions offered. Empty if `tool_choice` is `"none"`.
    pub tools: Vec<Tool>,
    /// Whether one answer may hold several tool calls.
    pub parallel_tool_calls: bool,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether a streamed answer ends with its usage.
    pub include_usage: bool,
    /// The whole body, for what has no field here.
    pub body: Value,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks: `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The text, of all text parts if the content came in parts; empty if there is none.
    pub text: String,
    /// The calls an assistant message asks for.
    pub tool_calls: Vec<ToolCall>,
    /// The call a tool message answers.
    pub tool_call_id: Option<String>,
}

/// A call an earlier answer asked for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ToolCall {
    /// The id that the result refers to.
    pub id: String,
    /// The function called.
    pub name: String,
    /// Its arguments, as the JSON text that was sent.
    pub arguments: String,
}

/// A function the caller offers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tool {
    /// The function's name.
    pub name: String,
    /// What it is for; empty if not said.
    pub description: String,
    /// The names of its parameters.
    pub parameters: Vec<String>,
}

/// A tool's result, with the name of the tool that gave it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ToolResult<'a> {
    /// The function that was called.
    pub name: &'a str,
    /// What it returned.
    pub text: &'a str,
}

impl ChatRequest {
    /// The text of the last user message.
    #[must_use]
    pub fn last_user(&self) -> Option<&str> {
        let message = self.messages.iter().rev().find(|message| message.role == "user")?;
        Some(&message.text)
    }

    /// The messages after the last user message: what the model and its tools did about it so far.
    #[must_use]
    pub fn turn(&self) -> &[Message] {
        let start = self.messages.iter().rposition(|message| message.role == "user");
        &self.messages[start.map_or(0, |index| index + 1)..]
    }

    /// The results that tools gave since the last user message, oldest first.
    #[must_use]
    pub fn tool_results(&self) -> Vec<ToolResult<'_>> {
        let results = self.turn().iter().filter(|message| message.role == "tool");
        results
            .filter_map(|message| {
                let call = self.call(message.tool_call_id.as_deref()?)?;
                Some(ToolResult { name: &call.name, text: &message.text })
            })
            .collect()
    }

    fn call(&self, id: &str) -> Option<&ToolCall> {
        let mut calls = self.messages.iter().flat_map(|message| &message.tool_calls);
        calls.find(|call| call.id == id)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let body: Value = serde_json::from_slice(bytes)
            .map_err(|_| ApiError::invalid("The body of the request is not valid JSON.", None, None))?;
        let Value::Object(fields) = &body else {
            return Err(ApiError::wrong_type("body", "an object"));
        };
        let stream = flag(fields, "stream", false)?;
        Ok(Self {
            model: model(fields)?,
            messages: messages(fields)?,
            tools: tools(fields)?,
            parallel_tool_calls: flag(fields, "parallel_tool_calls", true)?,
            stream,
            include_usage: include_usage(fields, stream)?,
            body,
        })
    }
}

fn model(fields: &Map<String, Value>) -> Result<String, ApiError> {
    match fields.get("model") {
        Some(Value::String(model)) if !model.is_empty() => Ok(model.clone()),
        None => Err(ApiError::missing("model")),
        Some(_) => Err(ApiError::wrong_type("model", "a non-empty string")),
    }
}

fn flag(fields: &Map<String, Value>, name: &str, default: bool) -> Result<bool, ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(ApiError::wrong_type(name, "a boolean")),
    }
}

fn include_usage(fields: &Map<String, Value>, stream: bool) -> Result<bool, ApiError> {
    match fields.get("stream_options") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Object(options)) if stream => flag(options, "include_usage", false),
        Some(Value::Object(_)) => Err(ApiError::invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            Some("stream_options"),
            None,
        )),
        Some(_) => Err(ApiError::wrong_type("stream_options", "an object")),
    }
}

fn messages(fields: &Map<String, Value>) -> Result<Vec<Message>, ApiError> {
    match fields.get("messages") {
        None => Err(ApiError::missing("messages")),
        Some(Value::Array(items)) if !items.is_empty() => {
            let messages: Vec<Message> = items.iter().enumerate().map(message).collect::<Result<_, _>>()?;
            check_tool_messages(&messages)?;
            Ok(messages)
        }
        Some(_) => Err(ApiError::wrong_type("messages", "a non-empty array")),
    }
}

fn message((index, value): (usize, &Value)) -> Result<Message, ApiError> {
    let role = value["role"].as_str().ok_or_else(|| ApiError::missing(&format!("messages[{index}].role")))?;
    if !["system", "developer", "user", "assistant", "tool"].contains(&role) {
        let param = format!("messages[{index}].role");
        return Err(ApiError::wrong_type(&param, "'system', 'developer', 'user', 'assistant' or 'tool'"));
    }
    Ok(Message {
        role: role.to_owned(),
        text: text(&value["content"]).ok_or_else(|| {
            ApiError::wrong_type(&format!("messages[{index}].content"), "a string or an array of parts")
        })?,
        tool_calls: tool_calls(&value["tool_calls"]),
        tool_call_id: value["tool_call_id"].as_str().map(str::to_owned),
    })
}

fn text(content: &Value) -> Option<String> {
    match content {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        _ => None,
    }
}

fn tool_calls(calls: &Value) -> Vec<ToolCall> {
    let calls = calls.as_array().into_iter().flatten();
    calls
        .map(|call| ToolCall {
            id: string(&call["id"]),
            name: string(&call["function"]["name"]),
            arguments: string(&call["function"]["arguments"]),
        })
        .collect()
}

/// The service refuses a result nobody asked for, and a call left without its result.
fn check_tool_messages(messages: &[Message]) -> Result<(), ApiError> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let param = format!("messages[{index}]");
        if message.role == "tool" {
            let id = message.tool_call_id.as_deref().unwrap_or_default();
            let Some(position) = open.iter().position(|call| *call == id) else {
                let text = "A message with role 'tool' must answer a preceding message with 'tool_calls'.";
                return Err(ApiError::invalid(text, Some(&param), None));
            };
            open.remove(position);
            continue;
        }
        unanswered(&open, &param)?;
        open.extend(message.tool_calls.iter().map(|call| call.id.as_str()));
    }
    unanswered(&open, "messages")
}

fn unanswered(open: &[&str], param: &str) -> Result<(), ApiError> {
    if open.is_empty() {
        return Ok(());
    }
    let text = format!("These tool calls have no tool message that answers them: {}.", open.join(", "));
    Err(ApiError::invalid(&text, Some(param), None))
}

fn tools(fields: &Map<String, Value>) -> Result<Vec<Tool>, ApiError> {
    match fields.get("tools") {
        _ if fields.get("tool_choice").is_some_and(|choice| choice == "none") => Ok(Vec::new()),
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().enumerate().map(tool).collect(),
        Some(_) => Err(ApiError::wrong_type("tools", "an array")),
    }
}

fn tool((index, value): (usize, &Value)) -> Result<Tool, ApiError> {
    let function = &value["function"];
    let name = function["name"]
        .as_str()
        .ok_or_else(|| ApiError::missing(&format!("tools[{index}].function.name")))?;
    let properties = function["parameters"]["properties"].as_object();
    Ok(Tool {
        name: name.to_owned(),
        description: string(&function["description"]),
        parameters: properties.into_iter().flat_map(Map::keys).cloned().collect(),
    })
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
