//! What traces add up to over time.

use rusqlite::params_from_iter;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, TraceFilter};
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

impl Store {
    /// Volume, errors and latency over time. Buckets without a trace are not there.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn volume(&self, filter: &TraceFilter, granularity: Granularity) -> Result<Vec<Bucket>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let list = format!(
                "SELECT {} AS bucket, status = 'ERROR', latency FROM traces WHERE {} ORDER BY bucket, latency",
                granularity.sql(),
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let mut rows = list.query(&*all.values())?;
            let mut buckets: Vec<Bucket> = Vec::new();
            let mut latencies = Vec::new();
            while let Some(row) = rows.next()? {
                let bucket = Micros(row.get(0)?);
                if buckets.last().is_none_or(|last| last.bucket != bucket) {
                    spread(buckets.last_mut(), &mut latencies);
                    buckets.push(Bucket::beginning(bucket));
                }
                if let Some(last) = buckets.last_mut() {
                    last.trace_count += 1;
                    last.error_count += row.get::<_, i64>(1)?;
                }
                latencies.extend(row.get::<_, Option<i64>>(2)?.map(super::read::millis));
            }
            spread(buckets.last_mut(), &mut latencies);
            Ok(buckets)
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

impl Bucket {
    fn beginning(bucket: Micros) -> Self {
        Self {
            bucket,
            trace_count: 0,
            error_count: 0,
            avg_latency_ms: None,
            p50_latency_ms: None,
            p90_latency_ms: None,
            p99_latency_ms: None,
        }
    }
}

/// Fills in what the latencies of a bucket, which are in order, add up to.
fn spread(bucket: Option<&mut Bucket>, latencies: &mut Vec<f64>) {
    if let (Some(bucket), Some([half, most, nearly_all])) = (bucket, percentiles(latencies)) {
        #[expect(clippy::cast_precision_loss, reason = "a number of traces")]
        let count = latencies.len() as f64;
        bucket.avg_latency_ms = Some(latencies.iter().sum::<f64>() / count);
        bucket.p50_latency_ms = Some(half);
        bucket.p90_latency_ms = Some(most);
        bucket.p99_latency_ms = Some(nearly_all);
    }
    latencies.clear();
}

/// What half, nine in ten and 99 in 100 of these, which are in order, stay under.
pub(super) fn percentiles(latencies: &[f64]) -> Option<[f64; 3]> {
    let last = latencies.len().checked_sub(1)?;
    let at = |hundredths: usize| latencies.get((last * hundredths + 50) / 100).copied().unwrap_or_default();
    Some([at(50), at(90), at(99)])
}
