//! A trace: one run of an agent, with its spans.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Object, SpanData, Timestamp, TraceId};

/// How far a trace has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TraceStatus {
    /// It has not begun.
    Pending,
    /// It is running.
    Running,
    /// It ended well.
    #[default]
    Completed,
    /// It failed.
    Error,
}

/// A trace as it goes over the wire (`POST /traces`). Fields that are absent are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceData {
    /// The trace's id.
    pub trace_id: TraceId,
    /// Its name, 1 to 512 characters.
    pub name: String,
    /// How far it has come.
    #[serde(default)]
    pub status: TraceStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// What went in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input: Option<Value>,
    /// What came out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<Value>,
    /// Anything else worth knowing.
    #[serde(skip_serializing_if = "Object::is_empty", default)]
    pub metadata: Object,
    /// The agent lifecycle it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session_id: Option<String>,
    /// Whose activity it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tags: Vec<String>,
    /// The environment of the process, such as `production`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub environment: Option<String>,
    /// The release of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<String>,
    /// Its steps, at most 500 in one request.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub spans: Vec<SpanData>,
}

impl TraceData {
    /// A trace that has just begun.
    pub fn new(name: impl Into<String>, started_at: Timestamp) -> Self {
        Self {
            trace_id: TraceId::random(),
            name: name.into(),
            status: TraceStatus::Completed,
            started_at,
            ended_at: None,
            input: None,
            output: None,
            metadata: Object::new(),
            session_id: None,
            user_id: None,
            tags: Vec::new(),
            environment: None,
            release: None,
            spans: Vec::new(),
        }
    }

    /// Adds the tags that are not there yet.
    pub(crate) fn add_tags(&mut self, tags: impl IntoIterator<Item = String>) {
        for tag in tags {
            if !self.tags.contains(&tag) {
                self.tags.push(tag);
            }
        }
    }

    /// The first span of that name.
    pub fn span(&self, name: &str) -> Option<&SpanData> {
        self.spans.iter().find(|span| span.name == name)
    }
}

/// A change to a trace that was sent before (`PATCH /traces/{id}`). Absent fields keep what is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceUpdate {
    /// How far it has come.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<TraceStatus>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// What went in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input: Option<Value>,
    /// What came out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<Value>,
    /// Metadata, merged into what is stored.
    #[serde(skip_serializing_if = "Object::is_empty", default)]
    pub metadata: Object,
    /// The agent lifecycle it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session_id: Option<String>,
    /// Whose activity it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<String>,
    /// Its tags, replacing those stored; left out when empty.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tags: Vec<String>,
}
