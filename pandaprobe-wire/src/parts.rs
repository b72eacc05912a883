use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    ToolItem,
    calls::tool_call,
    content::{Content, weight},
    fields::name,
    json as lenient,
    limits::{Notes, Room},
};

/// Bytes charged for a part beside its text.
const COST: usize = 256;

/// The parts of an answer in a dialect that counts them, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    parts: Vec<Part>,
    /// Index on the wire to position in `parts`.
    open: BTreeMap<u64, usize>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Reasoning(String),
    Call(Call),
    /// A tool that the provider ran: what is known of it, and its input as it is streamed.
    Tool(Box<ToolItem>, String),
    Other(Value),
}

#[derive(Debug, Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Parts {
    /// Appends to the text at `index`. Says whether there was any.
    pub(crate) fn text(&mut self, index: u64, piece: &str, room: &mut Room) -> bool {
        if !matches!(self.at(index), Some(Part::Text(_))) && !self.put(index, Part::Text(String::new()), room)
        {
            return false;
        }
        if let Some(Part::Text(text)) = self.at(index) {
            room.append(text, piece);
        }
        !piece.is_empty()
    }

    /// Appends to the reasoning at `index`. Says whether there was any.
    pub(crate) fn reasoning(&mut self, index: u64, piece: &str, room: &mut Room) -> bool {
        let is_open = matches!(self.at(index), Some(Part::Reasoning(_)));
        if !is_open && !self.put(index, Part::Reasoning(String::new()), room) {
            return false;
        }
        if let Some(Part::Reasoning(text)) = self.at(index) {
            room.append(text, piece);
        }
        !piece.is_empty()
    }

    /// Begins a call that the caller must run.
    pub(crate) fn call(
        &mut self,
        index: u64,
        id: Option<&Value>,
        called: Option<&Value>,
        room: &mut Room,
    ) -> bool {
        let call = Call { id: name(id), name: name(called).unwrap_or_default(), arguments: String::new() };
        self.put(index, Part::Call(call), room)
    }

    /// Takes a tool that the provider ran.
    pub(crate) fn tool(&mut self, index: u64, item: ToolItem, room: &mut Room) -> bool {
        let held = weight(&item.input) + item.output.as_ref().map_or(0, weight);
        room.take(held) && self.put(index, Part::Tool(Box::new(item), String::new()), room)
    }

    /// Appends to the arguments of the call or tool at `index`. Says whether there were any.
    pub(crate) fn arguments(&mut self, index: u64, piece: &str, room: &mut Room) -> bool {
        match self.at(index) {
            Some(Part::Call(Call { arguments, .. }) | Part::Tool(_, arguments)) => {
                room.append(arguments, piece);
                !piece.is_empty()
            }
            _ => false,
        }
    }

    /// Takes the result of the last tool that has none, of the given id if there is one. Says whether there is
    /// such a tool.
    pub(crate) fn result(
        &mut self,
        id: Option<&str>,
        output: Value,
        error: Option<String>,
        room: &mut Room,
    ) -> bool {
        let waiting = self.parts.iter_mut().rev().find_map(|part| match part {
            Part::Tool(item, _) if item.output.is_none() && (id.is_none() || item.id.as_deref() == id) => {
                Some(item)
            }
            _ => None,
        });
        match waiting {
            Some(item) if room.take(weight(&output)) => {
                item.output = Some(output);
                item.error = error;
                true
            }
            other => other.is_some(),
        }
    }

    /// Takes a part that is none of the others, reduced to a reference.
    pub(crate) fn other(&mut self, index: u64, value: Value, room: &mut Room) -> bool {
        room.take(weight(&value)) && self.put(index, Part::Other(value), room)
    }

    /// An index that no part has.
    pub(crate) fn next(&self) -> u64 {
        self.open.keys().next_back().map_or(0, |last| last.saturating_add(1))
    }

    /// An index below `end` that no part has.
    pub(crate) fn next_below(&self, end: u64) -> u64 {
        self.open.range(..end).next_back().map_or(0, |(last, _)| last.saturating_add(1))
    }

    /// Text, calls and other parts as a normalised message.
    pub(crate) fn message(&self) -> Value {
        let (mut content, mut room) = (Content::default(), Room::unlimited());
        let mut calls = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => content.text(text, &mut room),
                Part::Other(value) => content.other(value.clone(), &mut room),
                Part::Call(call) => calls.push(call.value()),
                Part::Reasoning(_) | Part::Tool(..) => {}
            }
        }
        let mut message = Map::new();
        message.insert("role".into(), Value::from("assistant"));
        message.insert("content".into(), content.value());
        if !calls.is_empty() {
            message.insert("tool_calls".into(), Value::from(calls));
        }
        Value::Object(message)
    }

    /// The reasoning, its parts with `between` between them.
    pub(crate) fn all_reasoning(&self, between: &str) -> Option<String> {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Reasoning(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        });
        Some(texts.collect::<Vec<&str>>().join(between)).filter(|text| !text.is_empty())
    }

    /// The tools that the provider ran.
    pub(crate) fn tools(&self) -> impl Iterator<Item = ToolItem> {
        self.parts.iter().filter_map(|part| match part {
            Part::Tool(item, text) if text.is_empty() => Some(ToolItem::clone(item)),
            Part::Tool(item, text) => Some(ToolItem { input: parsed(text), ..ToolItem::clone(item) }),
            _ => None,
        })
    }

    fn at(&mut self, index: u64) -> Option<&mut Part> {
        self.parts.get_mut(*self.open.get(&index)?)
    }

    /// Begins a part. Says whether there was room for it.
    fn put(&mut self, index: u64, part: Part, room: &mut Room) -> bool {
        let fits = room.take(COST);
        if fits {
            self.open.insert(index, self.parts.len());
            self.parts.push(part);
        }
        fits
    }
}

impl Call {
    fn value(&self) -> Value {
        tool_call(self.id.as_deref(), &self.name, &self.arguments)
    }
}

/// Arguments as JSON, else as text.
fn parsed(text: &str) -> Value {
    lenient::parse(text.as_bytes(), &mut Notes::default()).unwrap_or_else(|_| Value::from(text))
}
