//! What traces add up to over time.

use rusqlite::{Row, params_from_iter};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, TraceFilter, read::millis};
use crate::time::Micros;

/// How long a bucket of time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// An hour.
    Hour,
    /// A day, from midnight UTC.
    #[default]
    Day,
    /// A week, from Monday.
    Week,
}

impl Granularity {
    /// Its length in microseconds, and how far the beginning of one is from the beginning of 1970, a Thursday.
    fn grid(self) -> (i64, i64) {
        const HOUR: i64 = 3_600_000_000;
        match self {
            Self::Hour => (HOUR, 0),
            Self::Day => (24 * HOUR, 0),
            Self::Week => (7 * 24 * HOUR, 4 * 24 * HOUR),
        }
    }

    fn sql(self) -> String {
        let (length, shift) = self.grid();
        format!("((traces.started_at - {shift}) / {length} * {length} + {shift})")
    }
}

/// Traces in a bucket of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// When it begins.
    pub bucket: Micros,
    /// How many traces began in it.
    pub trace_count: i64,
    /// How many of them failed.
    pub error_count: i64,
    /// How long they took on average, in milliseconds.
    pub avg_latency_ms: Option<f64>,
    /// How long half of them took at most.
    pub p50_latency_ms: Option<f64>,
    /// How long nine in ten took at most.
    pub p90_latency_ms: Option<f64>,
    /// How long 99 in 100 took at most.
    pub p99_latency_ms: Option<f64>,
}

/// Tokens and cost in a bucket of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenBucket {
    /// When it begins.
    pub bucket: Micros,
    /// All tokens.
    pub total_tokens: i64,
    /// Those of prompts.
    pub prompt_tokens: i64,
    /// Those of completions.
    pub completion_tokens: i64,
    /// What they cost.
    pub total_cost: f64,
}

/// Sessions that began in a bucket of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionBucket {
    /// When it begins.
    pub bucket: Micros,
    /// How many.
    pub session_count: i64,
    /// How many traces they have on average.
    pub avg_traces_per_session: f64,
    /// How long they took on average from the first beginning to the last end, in milliseconds.
    pub avg_session_duration_ms: Option<f64>,
}

/// How a model was used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelUse {
    /// Its name.
    pub model: String,
    /// How often it was asked.
    pub call_count: i64,
    /// Tokens of all calls.
    pub total_tokens: i64,
    /// What all calls cost.
    pub total_cost: f64,
}

/// How often a step of a name was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameUse {
    /// Its name.
    pub name: String,
    /// How often.
    pub count: i64,
    /// How often it failed.
    pub errors: i64,
}

/// What began in one step of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// Which step, counted from the beginning of the first.
    pub(crate) number: i64,
    pub(crate) traces: i64,
    pub(crate) errors: i64,
    pub(crate) latency: Option<Latency>,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cost: f64,
}

/// How long traces took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    /// Half of them stay under it.
    pub(crate) half: f64,
    /// Nine in ten do.
    pub(crate) most: f64,
    /// 99 in 100 do.
    pub(crate) nearly_all: f64,
}

impl Store {
    /// Volume, errors and latency over time. Buckets without a trace are not there.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn volume(&self, filter: &TraceFilter, granularity: Granularity) -> Result<Vec<Bucket>, StoreError> {
        let (length, shift) = granularity.grid();
        let steps = self.activity(filter, length, shift)?;
        let bucket = |step: Step| Bucket {
            bucket: Micros(step.number * length + shift),
            trace_count: step.traces,
            error_count: step.errors,
            avg_latency_ms: step.latency.map(|latency| latency.mean),
            p50_latency_ms: step.latency.map(|latency| latency.half),
            p90_latency_ms: step.latency.map(|latency| latency.most),
            p99_latency_ms: step.latency.map(|latency| latency.nearly_all),
        };
        Ok(steps.into_iter().map(bucket).collect())
    }

    /// What the traces add up to in each step of `length` microseconds, counted from `shift`. Steps without a trace are not there.
    pub(crate) fn activity(
        &self,
        filter: &TraceFilter,
        length: i64,
        shift: i64,
    ) -> Result<Vec<Step>, StoreError> {
        let all = filter.to_where();
        let length = length.max(1);
        self.read(|connection| {
            let list = format!(
                "SELECT (traces.started_at - {shift}) / {length} AS number, status = 'ERROR', latency, prompt_tokens,
                        completion_tokens, total_cost
                 FROM traces WHERE {} ORDER BY number, latency",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let mut rows = list.query(&*all.values())?;
            let (mut steps, mut latencies): (Vec<Step>, _) = (Vec::new(), Vec::new());
            while let Some(row) = rows.next()? {
                let number = row.get(0)?;
                if steps.last().is_none_or(|last| last.number != number) {
                    spread(steps.last_mut(), &mut latencies);
                    steps.push(Step { number, ..Step::default() });
                }
                if let Some(last) = steps.last_mut() {
                    last.traces += 1;
                    last.errors += row.get::<_, i64>(1)?;
                    last.prompt_tokens = last.prompt_tokens.saturating_add(row.get(3)?);
                    last.completion_tokens = last.completion_tokens.saturating_add(row.get(4)?);
                    last.cost += cost(row, 5)?;
                }
                latencies.extend(row.get::<_, Option<i64>>(2)?.map(millis));
            }
            spread(steps.last_mut(), &mut latencies);
            Ok(steps)
        })
    }

    /// Tokens and cost over time.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn tokens(
        &self,
        filter: &TraceFilter,
        granularity: Granularity,
    ) -> Result<Vec<TokenBucket>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let list = format!(
                "SELECT {} AS bucket, sum(prompt_tokens), sum(completion_tokens), sum(total_cost)
                 FROM traces WHERE {} GROUP BY bucket ORDER BY bucket",
                granularity.sql(),
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let rows = list.query_map(&*all.values(), |row| {
                let (prompt_tokens, completion_tokens) = (row.get(1)?, row.get(2)?);
                Ok(TokenBucket {
                    bucket: Micros(row.get(0)?),
                    total_tokens: prompt_tokens + completion_tokens,
                    prompt_tokens,
                    completion_tokens,
                    total_cost: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Models, those asked most first.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn models(&self, filter: &TraceFilter, limit: i64) -> Result<Vec<ModelUse>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let list = format!(
                "SELECT model, count(*), sum(spans.prompt_tokens + spans.completion_tokens), sum(spans.total_cost)
                 FROM spans JOIN traces USING (id) WHERE model IS NOT NULL AND {}
                 GROUP BY model ORDER BY count(*) DESC, model LIMIT {limit}",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let rows = list.query_map(&*all.values(), |row| {
                Ok(ModelUse {
                    model: row.get(0)?,
                    call_count: row.get(1)?,
                    total_tokens: row.get(2)?,
                    total_cost: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Steps of a kind by name, those taken most first.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn steps(&self, filter: &TraceFilter, kind: &str, limit: i64) -> Result<Vec<NameUse>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let list = format!(
                "SELECT spans.name, count(*), sum(spans.status = 'ERROR') FROM spans JOIN traces USING (id)
                 WHERE {} AND kind = ? GROUP BY spans.name ORDER BY count(*) DESC, spans.name LIMIT {limit}",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let kind: &dyn rusqlite::ToSql = &kind;
            let values = all.values().into_iter().chain([kind]);
            let rows = list.query_map(params_from_iter(values), |row| {
                Ok(NameUse { name: row.get(0)?, count: row.get(1)?, errors: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The sessions that began in each bucket of time.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn session_volume(
        &self,
        filter: &TraceFilter,
        granularity: Granularity,
    ) -> Result<Vec<SessionBucket>, StoreError> {
        let mut all = filter.to_where();
        all.and_plain("session_id IS NOT NULL");
        let (length, shift) = granularity.grid();
        self.read(|connection| {
            let list = format!(
                "SELECT (first - {shift}) / {length} * {length} + {shift} AS bucket, count(*), avg(traces),
                        avg(last - first) / 1000.0
                 FROM (SELECT min(started_at) AS first, max(ended_at) AS last, count(*) AS traces
                       FROM traces WHERE {} GROUP BY project, session_id)
                 GROUP BY bucket ORDER BY bucket",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let rows = list.query_map(&*all.values(), |row| {
                Ok(SessionBucket {
                    bucket: Micros(row.get(0)?),
                    session_count: row.get(1)?,
                    avg_traces_per_session: row.get(2)?,
                    avg_session_duration_ms: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// A cost, which is none if it is no number.
pub(super) fn cost(row: &Row<'_>, at: usize) -> Result<f64, rusqlite::Error> {
    let cost: Option<f64> = row.get(at)?;
    Ok(cost.filter(|cost| cost.is_finite()).unwrap_or_default())
}

/// Fills in the latencies of a step, which are in order.
fn spread(step: Option<&mut Step>, latencies: &mut Vec<f64>) {
    if let Some(step) = step {
        step.latency = Latency::of(latencies);
    }
    latencies.clear();
}

impl Latency {
    /// Of these, which are in order.
    fn of(latencies: &[f64]) -> Option<Self> {
        let last = latencies.len().checked_sub(1)?;
        let at =
            |hundredths: usize| latencies.get((last * hundredths + 50) / 100).copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a number of traces")]
        let count = latencies.len() as f64;
        Some(Self {
            mean: latencies.iter().sum::<f64>() / count,
            half: at(50),
            most: at(90),
            nearly_all: at(99),
        })
    }
}
