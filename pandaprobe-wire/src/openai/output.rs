//! The output items of a response, merged from whole items and from deltas.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    ToolItem,
    content::{Content, part_text, weight},
    fields::name,
    limits::Room,
    media,
};

use super::tool::Tool;

/// Bytes charged for an item or a part of one beside its text.
const COST: usize = 256;

/// Output items by their index.
#[derive(Debug)]
pub(super) struct Output {
    items: BTreeMap<u64, Item>,
    /// Ids of items to their index.
    ids: BTreeMap<String, u64>,
    said: bool,
    /// The item that was begun last and is not done.
    open: Option<u64>,
    room: Room,
    capacity: usize,
}

#[derive(Debug)]
struct Item {
    body: Body,
    /// Room that the item takes.
    cost: usize,
}

#[derive(Debug)]
enum Body {
    Message(BTreeMap<u64, Part>),
    Reasoning(Reasoning),
    Tool(Tool),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Refusal(String),
    Other(Value),
}

/// Blocks of visible reasoning.
#[derive(Debug, Default)]
struct Reasoning {
    summary: BTreeMap<u64, String>,
    content: BTreeMap<u64, String>,
}

/// What a delta is a piece of.
enum Piece<'a> {
    Text,
    Refusal,
    Summary,
    Reasoning,
    /// The text of a call: the type of its item and the field that the text is for.
    Call(&'a str, &'static str),
}

impl Output {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            items: BTreeMap::new(),
            ids: BTreeMap::new(),
            said: false,
            open: None,
            room: Room::new(capacity),
            capacity,
        }
    }

    /// Takes the items of a complete answer in place of what was there.
    pub(super) fn replace(&mut self, items: &[Value]) {
        *self = Self::new(self.capacity);
        for raw in items {
            self.put(self.next(), raw);
        }
    }

    /// Takes an item that begins.
    pub(super) fn added(&mut self, event: &Value) -> bool {
        let raw = event.get("item").unwrap_or(&Value::Null);
        let index = self.named(event).unwrap_or_else(|| self.next());
        self.open = Some(index);
        self.put(index, raw)
    }

    /// Takes an item that is done. Says whether it brought output that no delta had brought.
    pub(super) fn done(&mut self, event: &Value) -> bool {
        let raw = event.get("item").unwrap_or(&Value::Null);
        let open = self.open.take();
        let index = self.named(event).or(open).unwrap_or_else(|| self.next());
        self.put(index, raw)
    }

    /// Takes a delta of the kind `stem`. Says whether it brought output.
    pub(super) fn delta(&mut self, stem: &str, event: &Value) -> bool {
        let text = event.get("delta").and_then(Value::as_str).unwrap_or_default();
        let Some(piece) = piece(stem).filter(|_| !text.is_empty()) else {
            return false;
        };
        let last = || self.items.keys().next_back().copied();
        let index = self.named(event).or(self.open).or_else(last).unwrap_or(0);
        let part = ["content_index", "summary_index"].iter().find_map(|key| event.get(*key)?.as_u64());
        self.append(index, part.unwrap_or(0), &piece, text)
    }

    /// Whether the model has said something.
    pub(super) fn says_something(&self) -> bool {
        self.said
    }

    pub(super) fn is_full(&self) -> bool {
        self.room.is_full()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.room.taken(self.capacity)
    }

    /// All that was said, and the calls, as one normalised message; none where there is neither.
    pub(super) fn message(&self) -> Option<Value> {
        let content = self.content();
        let calls: Vec<Value> = self.items.values().filter_map(|item| item.body.tool()?.call()).collect();
        if content.is_null() && calls.is_empty() {
            return None;
        }
        let mut message = Map::new();
        message.insert("role".into(), Value::from("assistant"));
        message.insert("content".into(), content);
        if !calls.is_empty() {
            message.insert("tool_calls".into(), Value::from(calls));
        }
        Some(Value::Object(message))
    }

    /// The blocks of visible reasoning, with blank lines between them.
    pub(super) fn reasoning(&self) -> Option<String> {
        let items = self.items.values().filter_map(|item| match &item.body {
            Body::Reasoning(reasoning) => Some(reasoning.summary.values().chain(reasoning.content.values())),
            _ => None,
        });
        let blocks: Vec<&str> = items.flatten().map(String::as_str).filter(|text| !text.is_empty()).collect();
        (!blocks.is_empty()).then(|| blocks.join("\n\n"))
    }

    pub(super) fn refusal(&self) -> Option<String> {
        let refusals = self.parts().filter_map(|part| match part {
            Part::Refusal(text) => Some(text.as_str()),
            _ => None,
        });
        Some(refusals.collect::<String>()).filter(|text| !text.is_empty())
    }

    /// The tool items; the output of a call is part of its call.
    pub(super) fn tools(&self) -> Vec<ToolItem> {
        let mut items: Vec<ToolItem> = Vec::new();
        let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
        for tool in self.items.values().filter_map(|item| item.body.tool()) {
            match tool.result_of().and_then(|(call, result)| Some((*calls.get(call)?, result))) {
                Some((position, result)) => {
                    items[position].output = Some(result.clone());
                    items[position].executed = true;
                }
                None => {
                    calls.extend(tool.id().map(|id| (id, items.len())));
                    items.push(tool.item());
                }
            }
        }
        items
    }

    fn content(&self) -> Value {
        let (mut content, mut room) = (Content::default(), Room::unlimited());
        for part in self.parts() {
            match part {
                Part::Text(text) => content.text(text, &mut room),
                Part::Other(value) => content.other(value.clone(), &mut room),
                Part::Refusal(_) => {}
            }
        }
        self.refusal().filter(|_| content.is_empty()).map_or_else(|| content.value(), Value::from)
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        let messages = self.items.values().filter_map(|item| match &item.body {
            Body::Message(parts) => Some(parts.values()),
            _ => None,
        });
        messages.flatten()
    }

    /// The index that an event is about, by number or else by the item's id.
    fn named(&self, event: &Value) -> Option<u64> {
        let id = || event.get("item_id").or_else(|| event.get("item")?.get("id"))?.as_str();
        let index = event.get("output_index").and_then(Value::as_u64);
        index.or_else(|| self.ids.get(id()?).copied())
    }

    fn next(&self) -> u64 {
        self.items.keys().next_back().map_or(0, |last| last.saturating_add(1))
    }

    /// Takes an item in place of what is known of it. Says whether it brought the first output of the item.
    fn put(&mut self, index: u64, raw: &Value) -> bool {
        let Some(raw) = raw.as_object().filter(|_| !self.is_full()) else {
            return false;
        };
        self.name(index, raw.get("id"));
        let old = self.items.remove(&index);
        self.room.release(old.as_ref().map_or(0, |old| old.cost));
        let said = old.as_ref().is_some_and(|old| old.body.says_something());
        let item = match (self.read(raw), old) {
            (Some(new), Some(old)) => self.merged(new, old),
            (Some(item), None) | (None, Some(item)) => item,
            (None, None) => return false,
        };
        let says = item.body.says_something();
        self.items.insert(index, item);
        self.said |= says;
        says && !said
    }

    /// Remembers the id of an item.
    fn name(&mut self, index: u64, id: Option<&Value>) {
        if let Some(id) = name(id).filter(|id| self.ids.get(id) != Some(&index))
            && self.room.take(COST + id.len())
        {
            self.ids.insert(id, index);
        }
    }

    fn read(&mut self, raw: &Map<String, Value>) -> Option<Item> {
        let before = self.held_bytes();
        let body = self.room.take(COST).then(|| Body::read(raw, &mut self.room)).flatten()?;
        Some(Item { body, cost: self.held_bytes() - before })
    }

    /// The later state of an item, with what only the earlier one had.
    fn merged(&mut self, mut new: Item, old: Item) -> Item {
        match (&mut new.body, old.body) {
            (Body::Tool(tool), Body::Tool(old)) => {
                let text = tool.inherit(old);
                self.room.take(text);
                new.cost += text;
                new
            }
            (body, earlier) if !body.says_something() && earlier.says_something() => {
                self.room.release(new.cost);
                self.room.take(old.cost);
                Item { body: earlier, cost: old.cost }
            }
            _ => new,
        }
    }

    fn append(&mut self, index: u64, part: u64, piece: &Piece<'_>, text: &str) -> bool {
        let before = self.held_bytes();
        if !self.items.contains_key(&index) {
            if !self.room.take(COST) {
                return false;
            }
            self.items.insert(index, Item { body: Body::begun(piece), cost: 0 });
        }
        let Some(item) = self.items.get_mut(&index) else {
            return false;
        };
        let fits = item.body.append(part, piece, text, &mut self.room);
        item.cost += self.room.taken(self.capacity) - before;
        self.said |= fits;
        fits
    }
}

impl Body {
    fn read(raw: &Map<String, Value>, room: &mut Room) -> Option<Self> {
        match raw.get("type").and_then(Value::as_str) {
            Some("message") => Some(Self::Message(message_parts(raw, room))),
            None if raw.contains_key("content") => Some(Self::Message(message_parts(raw, room))),
            Some("reasoning") => {
                let summary = blocks(raw.get("summary"), room);
                Some(Self::Reasoning(Reasoning { summary, content: blocks(raw.get("content"), room) }))
            }
            _ => Tool::read(raw, room).map(Self::Tool),
        }
    }

    /// An item of which only a delta has come.
    fn begun(piece: &Piece<'_>) -> Self {
        match piece {
            Piece::Text | Piece::Refusal => Self::Message(BTreeMap::new()),
            Piece::Summary | Piece::Reasoning => Self::Reasoning(Reasoning::default()),
            Piece::Call(kind, field) => Self::Tool(Tool::begun(kind, field)),
        }
    }

    /// Appends a delta, if it is of this kind of item.
    fn append(&mut self, part: u64, piece: &Piece<'_>, text: &str, room: &mut Room) -> bool {
        let to = match (self, piece) {
            (Self::Message(parts), Piece::Text | Piece::Refusal) => message_part(parts, part, piece, room),
            (Self::Reasoning(Reasoning { summary, .. }), Piece::Summary) => slot(summary, part, room),
            (Self::Reasoning(Reasoning { content, .. }), Piece::Reasoning) => slot(content, part, room),
            (Self::Tool(tool), Piece::Call(_, field)) => {
                tool.append(field, text, room);
                return true;
            }
            _ => None,
        };
        to.map(|to| room.append(to, text)).is_some()
    }

    fn says_something(&self) -> bool {
        match self {
            Self::Message(parts) => parts.values().any(Part::says_something),
            Self::Reasoning(reasoning) => reasoning.blocks().any(|text| !text.is_empty()),
            Self::Tool(tool) => tool.says_something(),
        }
    }

    fn tool(&self) -> Option<&Tool> {
        match self {
            Self::Tool(tool) => Some(tool),
            _ => None,
        }
    }
}

impl Part {
    fn says_something(&self) -> bool {
        match self {
            Self::Text(text) | Self::Refusal(text) => !text.is_empty(),
            Self::Other(_) => true,
        }
    }
}

impl Reasoning {
    fn blocks(&self) -> impl Iterator<Item = &String> {
        self.summary.values().chain(self.content.values())
    }
}

/// The text of a part that is text or a block of reasoning.
pub(super) fn text_of(part: &Value) -> &str {
    part.as_str().or_else(|| part.get("text").and_then(Value::as_str)).unwrap_or_default()
}

/// What the deltas of a kind of event are pieces of.
fn piece(stem: &str) -> Option<Piece<'_>> {
    let stem = stem.strip_prefix("response.")?;
    match stem {
        "output_text" => Some(Piece::Text),
        "refusal" => Some(Piece::Refusal),
        "reasoning_summary_text" => Some(Piece::Summary),
        "reasoning_text" => Some(Piece::Reasoning),
        _ => {
            let call = |end: &str, field| Some(Piece::Call(stem.strip_suffix(end)?, field));
            call("_arguments", "arguments")
                .or_else(|| call("_input", "input"))
                .or_else(|| call("_code", "code"))
        }
    }
}

fn message_parts(raw: &Map<String, Value>, room: &mut Room) -> BTreeMap<u64, Part> {
    let mut parts = BTreeMap::new();
    for (index, raw) in listed(raw.get("content")).enumerate() {
        let refusal = raw.get("refusal").and_then(Value::as_str);
        let part = match (part_text(raw), refusal) {
            (Some(text), _) => Part::Text(fitting(text, room)),
            (None, Some(text)) => Part::Refusal(fitting(text, room)),
            (None, None) => Part::Other(media::part(raw.clone())),
        };
        let other = if let Part::Other(value) = &part { weight(value) } else { 0 };
        if room.take(COST + other) {
            parts.insert(index as u64, part);
        }
    }
    parts
}

fn fitting(text: &str, room: &mut Room) -> String {
    let mut kept = String::new();
    room.append(&mut kept, text);
    kept
}

fn blocks(list: Option<&Value>, room: &mut Room) -> BTreeMap<u64, String> {
    let mut blocks = BTreeMap::new();
    for (index, block) in listed(list).enumerate() {
        if let Some(to) = slot(&mut blocks, index as u64, room) {
            room.append(to, text_of(block));
        }
    }
    blocks
}

/// The elements of a list; some servers send the only one without the list.
fn listed(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    let (many, one) = match list {
        Some(Value::Array(items)) => (items.as_slice(), None),
        Some(Value::String(_)) => (&[][..], list),
        _ => (&[][..], None),
    };
    many.iter().chain(one)
}

/// The part of a message that a delta belongs to, made where there is none yet.
fn message_part<'a>(
    parts: &'a mut BTreeMap<u64, Part>,
    index: u64,
    piece: &Piece<'_>,
    room: &mut Room,
) -> Option<&'a mut String> {
    if !parts.contains_key(&index) && !room.take(COST) {
        return None;
    }
    let part = parts.entry(index).or_insert_with(|| match piece {
        Piece::Refusal => Part::Refusal(String::new()),
        _ => Part::Text(String::new()),
    });
    match (part, piece) {
        (Part::Text(text), Piece::Text) | (Part::Refusal(text), Piece::Refusal) => Some(text),
        _ => None,
    }
}

fn slot<'a>(blocks: &'a mut BTreeMap<u64, String>, index: u64, room: &mut Room) -> Option<&'a mut String> {
    if !blocks.contains_key(&index) && !room.take(COST) {
        return None;
    }
    Some(blocks.entry(index).or_default())
}
