//! Which traces, in which order.

use rusqlite::{ToSql, types::Value};
use serde::Deserialize;

use super::words;
use crate::{time::Micros, wire};

/// Which traces. What is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Of this session.
    pub session_id: Option<String>,
    /// Of this user.
    pub user_id: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// With any of these tags.
    pub tags: Vec<String>,
    /// With this in the name, in any case.
    pub name: Option<String>,
    /// With these words in names, inputs and outputs; the last one may be the beginning of one.
    pub query: Option<String>,
    /// With a call of this model.
    pub model: Option<String>,
    /// With a score of this name.
    pub score: Option<String>,
    /// With a span that failed, or failed itself; or without.
    pub has_error: Option<bool>,
    /// Begun then or later.
    pub started_after: Option<Micros>,
    /// Begun then or earlier.
    pub started_before: Option<Micros>,
    /// At least that long, in milliseconds.
    pub min_latency_ms: Option<f64>,
    /// At least that many tokens.
    pub min_tokens: Option<i64>,
    /// At least that cost.
    pub min_cost: Option<f64>,
    /// At least that many spans.
    pub min_spans: Option<i64>,
}

/// What a list is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    /// When they began.
    #[default]
    StartedAt,
    /// When they ended.
    EndedAt,
    /// Their name.
    Name,
    /// How long they took.
    Latency,
    /// Their status.
    Status,
    /// How many tokens they took.
    Tokens,
    /// What they cost.
    Cost,
    /// How many spans they have.
    Spans,
}

/// Upwards or downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The least first.
    Asc,
    /// The greatest first.
    #[default]
    Desc,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Page<T> {
    /// What is in this part.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: i64,
    /// How many were asked for.
    pub limit: i64,
    /// How many are before these.
    pub offset: i64,
}

/// The longest text that can be in a name or an id, in bytes.
const MAX_LIKE: usize = 4 * wire::MAX_NAME;

/// Conditions in SQL, and their values.
#[derive(Default)]
pub(super) struct Where {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Where {
    /// `condition` has one `?`, for `value`.
    pub(super) fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.conditions.push(condition.to_owned());
        self.values.push(value.into());
    }

    /// `text` is in the column.
    pub(super) fn and_like(&mut self, column: &str, text: &str) {
        // SQLite refuses a pattern that is very long. Nothing that is searched so is.
        if text.len() > MAX_LIKE {
            self.and_plain("FALSE");
        } else {
            self.and(&format!("{column} LIKE ? ESCAPE '\\'"), format!("%{}%", escaped(text)));
        }
    }

    pub(super) fn and_plain(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    pub(super) fn sql(&self) -> String {
        if self.conditions.is_empty() { "TRUE".to_owned() } else { self.conditions.join(" AND ") }
    }

    pub(super) fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(|value| value as &dyn ToSql).collect()
    }
}

impl TraceFilter {
    pub(super) fn to_where(&self) -> Where {
        let mut all = Where::default();
        let mut text = |condition: &str, value: &Option<String>| {
            if let Some(value) = value {
                all.and(condition, value.clone());
            }
        };
        // A project can be all of a store. The `+` keeps its index from being chosen before a better one.
        let better = self.session_id.is_some() || self.user_id.is_some();
        text(if better { "+traces.project = ?" } else { "traces.project = ?" }, &self.project);
        text("traces.session_id = ?", &self.session_id);
        text("traces.user_id = ?", &self.user_id);
        text("traces.status = ?", &self.status);
        text("traces.id IN (SELECT id FROM spans WHERE model = ?)", &self.model);
        text("traces.trace_id IN (SELECT trace_id FROM scores WHERE name = ?)", &self.score);
        if let Some(name) = &self.name {
            all.and_like("traces.name", name);
        }
        match self.query.as_deref().map(words::query) {
            Some(Some(query)) => {
                all.and("traces.id IN (SELECT rowid FROM words WHERE words MATCH ?)", query);
            }
            // Something was asked for, and it has no word in it.
            Some(None) if self.query.as_deref().is_some_and(|query| !query.trim().is_empty()) => {
                all.and_plain("FALSE");
            }
            _ => {}
        }
        match self.has_error {
            Some(true) => all.and_plain("(traces.status = 'ERROR' OR traces.error_count > 0)"),
            Some(false) => all.and_plain("(traces.status <> 'ERROR' AND traces.error_count = 0)"),
            None => {}
        }
        if let Some(time) = self.started_after {
            all.and("traces.started_at >= ?", time.0);
        }
        if let Some(time) = self.started_before {
            all.and("traces.started_at <= ?", time.0);
        }
        if let Some(latency) = self.min_latency_ms {
            all.and("traces.latency >= ?", latency * 1e3);
        }
        if let Some(tokens) = self.min_tokens {
            all.and("traces.prompt_tokens + traces.completion_tokens >= ?", tokens);
        }
        if let Some(cost) = self.min_cost {
            all.and("traces.total_cost >= ?", cost);
        }
        if let Some(spans) = self.min_spans {
            all.and("traces.span_count >= ?", spans);
        }
        self.with_tags(&mut all);
        all
    }

    fn with_tags(&self, all: &mut Where) {
        if self.tags.is_empty() {
            return;
        }
        let places = vec!["?"; self.tags.len()].join(", ");
        all.conditions.push(format!("traces.id IN (SELECT id FROM trace_tags WHERE tag IN ({places}))"));
        all.values.extend(self.tags.iter().cloned().map(Value::from));
    }
}

impl SortBy {
    pub(super) fn sql(self, order: Order) -> String {
        let column = match self {
            Self::StartedAt => "traces.started_at",
            Self::EndedAt => "traces.ended_at",
            Self::Name => "traces.name",
            Self::Latency => "traces.latency",
            Self::Status => "traces.status",
            Self::Tokens => "traces.prompt_tokens + traces.completion_tokens",
            Self::Cost => "traces.total_cost",
            Self::Spans => "traces.span_count",
        };
        let direction = order.sql();
        format!("{column} {direction}, traces.id {direction}")
    }
}

impl Order {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Asc => "ASC",
            Self::Desc => "DESC",
        }
    }
}

/// A text that stands for itself in `LIKE`.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
