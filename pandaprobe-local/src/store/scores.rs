//! Scores.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Page, Store, StoreError,
    filter::Where,
    read::raw,
    write::{find, touch},
};
use crate::{
    time::Micros,
    wire::{Raw, ScoreIn, ScorePatch, refused_value},
};

/// A score of a trace.
#[derive(Debug, Serialize)]
pub struct Score {
    /// Its id.
    pub id: String,
    /// The trace that it judges.
    pub trace_id: String,
    /// The trace's project.
    #[serde(skip)]
    pub project: String,
    /// What is judged.
    pub name: String,
    /// The judgement.
    pub value: Option<String>,
    /// `SUCCESS`: what is stored here was judged.
    pub status: &'static str,
    /// `AUTOMATED`, `ANNOTATION` or `PROGRAMMATIC`.
    pub source: String,
    /// When it was stored.
    pub created_at: Micros,
    /// The project's id. There is one for all.
    pub project_id: Uuid,
    /// `NUMERIC`, `BOOLEAN` or `CATEGORICAL`.
    pub data_type: String,
    /// None here: nothing is evaluated.
    pub eval_run_id: Option<Uuid>,
    /// None here: there are no accounts.
    pub author_user_id: Option<Uuid>,
    /// Why it is so.
    pub reason: Option<String>,
    /// The trace's environment.
    pub environment: Option<String>,
    /// None here.
    pub config_id: Option<Uuid>,
    /// Its metadata.
    pub metadata: Raw,
    /// When it was changed.
    pub updated_at: Micros,
}

/// Which scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoreFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Of this trace.
    pub trace_id: Option<Uuid>,
    /// Of this name.
    pub name: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// Of this type.
    pub data_type: Option<String>,
    /// Of traces in this environment.
    pub environment: Option<String>,
    /// Stored then or later.
    pub date_from: Option<Micros>,
    /// Stored then or earlier.
    pub date_to: Option<Micros>,
}

/// What the scores of a name add up to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreSummary {
    /// What is judged.
    pub metric_name: String,
    /// The mean of the numbers.
    pub avg_score: Option<f64>,
    /// The least.
    pub min_score: Option<f64>,
    /// The greatest.
    pub max_score: Option<f64>,
    /// The middle one.
    pub median_score: Option<f64>,
    /// How many there are.
    pub success_count: i64,
    /// None here: nothing is evaluated.
    pub failed_count: i64,
    /// When the last was stored.
    pub latest_score_at: Option<Micros>,
}

const SCORE: &str = "score_id, scores.trace_id, scores.name, value, source, created_at, data_type, reason,
    traces.environment, scores.metadata, updated_at, traces.project";
/// Whether a score is its trace's last of that name.
pub(super) const IS_LATEST: &str = "NOT EXISTS (
    SELECT 1 FROM scores AS later WHERE later.trace_id = scores.trace_id AND later.name = scores.name
        AND (later.created_at, later.id) > (scores.created_at, scores.id))";
const FROM: &str = "FROM scores JOIN traces ON traces.trace_id = scores.trace_id";

fn score(row: &Row<'_>) -> Result<Score, rusqlite::Error> {
    Ok(Score {
        id: row.get(0)?,
        trace_id: row.get(1)?,
        name: row.get(2)?,
        value: row.get(3)?,
        status: "SUCCESS",
        source: row.get(4)?,
        created_at: Micros(row.get(5)?),
        project_id: Uuid::nil(),
        data_type: row.get(6)?,
        eval_run_id: None,
        author_user_id: None,
        reason: row.get(7)?,
        environment: row.get(8)?,
        config_id: None,
        metadata: raw(row, 9)?.unwrap_or_default(),
        updated_at: Micros(row.get(10)?),
        project: row.get(11)?,
    })
}

impl Store {
    /// Stores a score; `None` if the project, or without one the store, has no such trace.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn post_score(
        &self,
        project: Option<String>,
        score: ScoreIn,
    ) -> Result<Option<Uuid>, StoreError> {
        let score_id = Uuid::new_v4();
        self.change(move |connection| {
            post_score(connection, project.as_deref(), &score, (score_id, Micros::now()))
        })
        .await
        .map(|is_known| is_known.then_some(score_id))
    }

    /// Changes a score, which is then an annotation. `Ok(None)`: the project, or without one the store, has none; an inner error
    /// says what is wrong with the value.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn patch_score(
        &self,
        project: Option<String>,
        score_id: Uuid,
        patch: ScorePatch,
    ) -> Result<Option<Result<(), &'static str>>, StoreError> {
        self.change(move |connection| {
            let Some((trace, data_type)) = find_score(connection, project.as_deref(), score_id)? else {
                return Ok(None);
            };
            if let Some(wrong) = patch.value.as_deref().and_then(|value| refused_value(&data_type, value)) {
                return Ok(Some(Err(wrong)));
            }
            let metadata = patch.metadata.as_ref().map(serde_json::to_string).transpose()?;
            connection
                .prepare_cached(
                    "UPDATE scores SET value = coalesce(?2, value), number = CASE WHEN ?2 IS NULL THEN number ELSE ?3 END,
                        reason = CASE WHEN ?4 THEN ?5 ELSE reason END, metadata = coalesce(?6, metadata),
                        source = 'ANNOTATION', updated_at = ?7
                     WHERE score_id = ?1",
                )?
                .execute(params![
                    score_id.to_string(),
                    patch.value,
                    patch.value.as_deref().and_then(|value| number(&data_type, value)),
                    patch.reason.is_some(),
                    patch.reason.flatten(),
                    metadata,
                    Micros::now().0,
                ])?;
            touch(connection, trace)?;
            Ok(Some(Ok(())))
        })
        .await
    }

    /// Removes a score; `false` if the project, or without one the store, has none.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub async fn delete_score(&self, project: Option<String>, score_id: Uuid) -> Result<bool, StoreError> {
        self.change(move |connection| {
            let Some((trace, _)) = find_score(connection, project.as_deref(), score_id)? else {
                return Ok(false);
            };
            connection.execute("DELETE FROM scores WHERE score_id = ?1", [score_id.to_string()])?;
            touch(connection, trace)?;
            Ok(true)
        })
        .await
    }

    /// The score of that id.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn score(&self, score_id: Uuid) -> Result<Option<Score>, StoreError> {
        self.read(|connection| {
            let get = format!("SELECT {SCORE} {FROM} WHERE score_id = ?1");
            Ok(connection.prepare_cached(&get)?.query_row([score_id.to_string()], score).optional()?)
        })
    }

    /// The scores that `filter` means, the newest first.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn scores(
        &self,
        filter: &ScoreFilter,
        (limit, offset): (i64, i64),
    ) -> Result<Page<Score>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let count = format!("SELECT count(*) {FROM} WHERE {}", all.sql());
            let total = connection.prepare(&count)?.query_row(&*all.values(), |row| row.get(0))?;
            let list = format!(
                "SELECT {SCORE} {FROM} WHERE {} ORDER BY created_at DESC, scores.id DESC LIMIT {limit} OFFSET {offset}",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let items = list.query_map(&*all.values(), score)?.collect::<Result<_, _>>()?;
            Ok(Page { items, total, limit, offset })
        })
    }

    /// The last score of each name of a trace.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn scores_of(&self, trace_id: Uuid) -> Result<Vec<Score>, StoreError> {
        self.read(|connection| {
            let list = format!(
                "SELECT {SCORE} {FROM} WHERE scores.trace_id = ?1 AND {IS_LATEST} ORDER BY scores.name"
            );
            let mut list = connection.prepare_cached(&list)?;
            Ok(list.query_map([trace_id.to_string()], score)?.collect::<Result<_, _>>()?)
        })
    }

    /// What the scores of each name add up to.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn score_summaries(&self, filter: &ScoreFilter) -> Result<Vec<ScoreSummary>, StoreError> {
        let all = filter.to_where();
        self.read(|connection| {
            let list = format!(
                "SELECT scores.name, avg(number), min(number), max(number), count(*), max(created_at),
                        json_group_array(number) FILTER (WHERE number IS NOT NULL)
                 {FROM} WHERE {} GROUP BY scores.name ORDER BY scores.name",
                all.sql()
            );
            let mut list = connection.prepare(&list)?;
            let rows = list.query_map(&*all.values(), |row| {
                let numbers: String = row.get(6)?;
                Ok(ScoreSummary {
                    metric_name: row.get(0)?,
                    avg_score: row.get(1)?,
                    min_score: row.get(2)?,
                    max_score: row.get(3)?,
                    median_score: median(serde_json::from_str(&numbers).unwrap_or_default()),
                    success_count: row.get(4)?,
                    failed_count: 0,
                    latest_score_at: row.get::<_, Option<i64>>(5)?.map(Micros),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Stores a score that was exported, unless it is there. One that does not say which it is, is there if one says the same.
/// `false` if the project has no such trace.
#[cfg(feature = "cli")]
pub(crate) fn import_score(
    connection: &Connection,
    project: &str,
    score: &ScoreIn,
    score_id: Option<Uuid>,
    created_at: Option<Micros>,
) -> Result<bool, StoreError> {
    let same = "SELECT EXISTS (SELECT 1 FROM scores WHERE trace_id = ?1 AND name = ?2 AND value IS ?3 AND source = ?4
                AND reason IS ?5)";
    let values = params![score.trace_id.to_string(), score.name, score.value, score.source, score.reason];
    if score_id.is_none() && connection.prepare_cached(same)?.query_row(values, |row| row.get(0))? {
        return Ok(true);
    }
    let score_id = score_id.unwrap_or_else(Uuid::new_v4);
    post_score(connection, Some(project), score, (score_id, created_at.unwrap_or_else(Micros::now)))
}

/// Stores a score, unless there is one of that id. `false` if the project, or without one the store, has no such trace.
fn post_score(
    connection: &Connection,
    project: Option<&str>,
    score: &ScoreIn,
    (score_id, created_at): (Uuid, Micros),
) -> Result<bool, StoreError> {
    let Some(id) = find(connection, project, score.trace_id)? else {
        return Ok(false);
    };
    connection
        .prepare_cached(
            "INSERT INTO scores (score_id, trace_id, name, value, number, data_type, source, reason, metadata,
                                 created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)
             ON CONFLICT (score_id) DO NOTHING",
        )?
        .execute(params![
            score_id.to_string(),
            score.trace_id.to_string(),
            score.name,
            score.value,
            number(&score.data_type, &score.value),
            score.data_type,
            score.source,
            score.reason,
            serde_json::to_string(&score.metadata)?,
            created_at.0,
        ])?;
    touch(connection, id)?;
    Ok(true)
}

/// The store's own number of the trace of a score, and the score's type, if it is the project's. Without a project, of any.
fn find_score(
    connection: &Connection,
    project: Option<&str>,
    score_id: Uuid,
) -> Result<Option<(i64, String)>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT traces.id, data_type FROM scores JOIN traces USING (trace_id)
         WHERE score_id = ?1 AND project = coalesce(?2, project)",
    )?;
    let found = find.query_row(params![score_id.to_string(), project], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

fn number(data_type: &str, value: &str) -> Option<f64> {
    match data_type {
        "NUMERIC" => value.parse().ok(),
        "BOOLEAN" => Some(f64::from(u8::from(value.eq_ignore_ascii_case("true")))),
        _ => None,
    }
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(numbers[middle]),
        _ => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
    }
}

impl ScoreFilter {
    fn to_where(&self) -> Where {
        let mut all = Where::default();
        if let Some(trace_id) = self.trace_id {
            all.and("scores.trace_id = ?", trace_id.to_string());
        }
        for (condition, value) in [
            ("traces.project = ?", &self.project),
            ("scores.name = ?", &self.name),
            ("source = ?", &self.source),
            ("data_type = ?", &self.data_type),
            ("traces.environment = ?", &self.environment),
        ] {
            if let Some(value) = value {
                all.and(condition, value.clone());
            }
        }
        if let Some(time) = self.date_from {
            all.and("created_at >= ?", time.0);
        }
        if let Some(time) = self.date_to {
            all.and("created_at <= ?", time.0);
        }
        all
    }
}
