//! The spans of a trace as columns of numbers, in the order of the tree.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;

use super::{Miss, Shown, blocking, id, text};
use crate::{TraceRow, server::Shared, store::viewing::SpanLine};

/// Spans depth first, siblings by their start. Times are microseconds, offsets from the beginning of all.
#[derive(Debug, Default, Serialize)]
struct Columns {
    /// Which change of the trace this is as of, or of a later one.
    version: i64,
    /// When it all begins, and how long it all takes.
    start: i64,
    length: i64,
    /// Ids without dashes, one after the other.
    ids: String,
    parent: Vec<i32>,
    depth: Vec<u32>,
    /// Numbers of [`names`](Self::names) and so on.
    name: Vec<u32>,
    kind: Vec<u32>,
    model: Vec<i32>,
    /// 0: open or unset, 1: fine, 2: failed.
    outcome: Vec<u8>,
    offset: Vec<i64>,
    /// -1: still open.
    took: Vec<i64>,
    /// From the span's own start; -1: there is none.
    first: Vec<i64>,
    tokens: Vec<i64>,
    /// Those whose parent is not here, or is below them.
    astray: Vec<u32>,
    names: Vec<String>,
    kinds: Vec<String>,
    models: Vec<String>,
}

pub(super) async fn columns(
    State(shared): State<Shared>,
    Path(trace_id): Path<String>,
) -> Shown<Json<impl Serialize>> {
    let trace_id = id(&trace_id, "trace")?;
    let read = blocking(move || {
        let version = shared.store.trace_version(trace_id)?;
        let Some(trace) = shared.store.trace_line(trace_id)? else {
            return Ok(None);
        };
        let lines = shared.store.span_lines(trace_id)?;
        Ok(Some(to_columns(version, &trace, &lines)))
    });
    Ok(Json(read.await?.ok_or(Miss::Absent("trace"))?))
}

fn to_columns(version: i64, trace: &TraceRow, lines: &[SpanLine]) -> Columns {
    let start =
        lines.iter().map(|line| line.started_at).chain([trace.started_at.0]).min().unwrap_or_default();
    let ends = lines.iter().map(|line| line.ended_at.unwrap_or(line.started_at));
    let end = ends.chain(trace.ended_at.map(|end| end.0)).max().unwrap_or(start);
    let mut all = Columns { version, start, length: end.saturating_sub(start).max(1), ..Columns::default() };
    let (mut names, mut kinds, mut models) = (Words::default(), Words::default(), Words::default());
    let order = order(lines);
    let mut row_of = vec![-1; lines.len()];
    for (row, place) in (0..).zip(&order) {
        let line = &lines[place.line];
        row_of[place.line] = row;
        all.ids.extend(line.span_id.chars().filter(|character| *character != '-'));
        all.parent.push(place.parent.map_or(-1, |parent| row_of[parent]));
        all.depth.push(place.depth);
        all.name.push(names.number(&line.name));
        all.kind.push(kinds.number(&line.kind));
        all.model.push(line.model.as_deref().map_or(-1, |model| models.number(model).cast_signed()));
        all.outcome.push(match line.status.as_str() {
            "OK" => 1,
            "ERROR" => 2,
            _ => 0,
        });
        all.offset.push(line.started_at.saturating_sub(start));
        all.took.push(line.ended_at.map_or(-1, |end| end.saturating_sub(line.started_at).max(0)));
        all.first.push(line.first_token_at.map_or(-1, |first| first.saturating_sub(line.started_at).max(0)));
        all.tokens.push(line.tokens);
        if place.is_astray {
            all.astray.push(row.cast_unsigned());
        }
    }
    (all.names, all.kinds, all.models) = (names.all, kinds.all, models.all);
    all
}

/// Words, each once.
#[derive(Default)]
struct Words<'a> {
    numbers: HashMap<&'a str, u32>,
    all: Vec<String>,
}

impl<'a> Words<'a> {
    fn number(&mut self, word: &'a str) -> u32 {
        let Self { numbers, all } = self;
        *numbers.entry(word).or_insert_with(|| {
            all.push(text::cut(word, 512).replace(['\n', '\r', '\t'], " "));
            u32::try_from(all.len() - 1).unwrap_or_default()
        })
    }
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    line: usize,
    parent: Option<usize>,
    depth: u32,
    is_astray: bool,
}

/// All lines, each once, depth first. A line whose parent is not there stands at the top; of those that are below
/// themselves, the earliest does.
fn order(lines: &[SpanLine]) -> Vec<Place> {
    let by_id: HashMap<&str, usize> =
        lines.iter().enumerate().map(|(at, line)| (line.span_id.as_str(), at)).collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); lines.len()];
    let mut tops = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let named = line.parent_span_id.as_deref();
        match named.and_then(|id| by_id.get(id)).filter(|parent| **parent != at) {
            Some(parent) => children[*parent].push(at),
            None => tops.push(Place { line: at, parent: None, depth: 0, is_astray: named.is_some() }),
        }
    }
    let mut walk = Walk { children, placed: vec![false; lines.len()], out: Vec::with_capacity(lines.len()) };
    tops.into_iter().for_each(|top| walk.down(top));
    for at in 0..lines.len() {
        walk.down(Place { line: at, parent: None, depth: 0, is_astray: true });
    }
    walk.out
}

struct Walk {
    children: Vec<Vec<usize>>,
    placed: Vec<bool>,
    out: Vec<Place>,
}

impl Walk {
    fn down(&mut self, top: Place) {
        let mut waiting = vec![top];
        while let Some(place) = waiting.pop() {
            if std::mem::replace(&mut self.placed[place.line], true) {
                continue;
            }
            self.out.push(place);
            let below = self.children[place.line].iter().rev().map(|child| Place {
                line: *child,
                parent: Some(place.line),
                depth: place.depth + 1,
                is_astray: false,
            });
            waiting.extend(below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SpanLine, order};

    fn line(id: &str, parent: Option<&str>) -> SpanLine {
        SpanLine {
            span_id: id.to_owned(),
            parent_span_id: parent.map(str::to_owned),
            name: String::new(),
            kind: String::new(),
            status: String::new(),
            model: None,
            started_at: 0,
            ended_at: None,
            first_token_at: None,
            tokens: 0,
            cost: 0.0,
        }
    }

    fn tree(lines: &[SpanLine]) -> Vec<(&str, u32, bool)> {
        let places = order(lines);
        places
            .iter()
            .map(|place| (lines[place.line].span_id.as_str(), place.depth, place.is_astray))
            .collect()
    }

    #[test]
    fn depth_first_in_order_of_start() {
        let lines = [
            line("a", None),
            line("b", Some("a")),
            line("c", None),
            line("d", Some("b")),
            line("e", Some("a")),
        ];
        let expected = [("a", 0, false), ("b", 1, false), ("d", 2, false), ("e", 1, false), ("c", 0, false)];
        assert_eq!(tree(&lines), expected);
    }

    #[test]
    fn parents_that_are_no_parents() {
        let lines = [
            line("self", Some("self")),
            line("gone", Some("nowhere")),
            line("one", Some("two")),
            line("two", Some("one")),
            line("below", Some("two")),
        ];
        let expected =
            [("self", 0, true), ("gone", 0, true), ("one", 0, true), ("two", 1, false), ("below", 2, false)];
        assert_eq!(tree(&lines), expected);
    }

    #[test]
    fn a_deep_chain() {
        let ids: Vec<String> = (0..50_000).map(|number| format!("{number}")).collect();
        let parents = std::iter::once(None).chain(ids.iter().map(|id| Some(id.as_str())));
        let lines: Vec<SpanLine> = ids.iter().zip(parents).map(|(id, parent)| line(id, parent)).collect();
        assert_eq!(order(&lines).last().map(|place| place.depth), Some(49_999));
    }
}
