//! How spans and traces end: the one place that decides it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    decode::Decode,
    record::{Exit, SpanRecord},
    values::flatten,
};
use crate::{
    model::{SpanData, SpanStatus, TraceData, TraceStatus, last_assistant, last_user},
    report::{ReportKind, Reporter},
    sync::lock,
};

pub(super) fn is_settled(span: &Arc<SpanRecord>) -> bool {
    span.with(|state| state.settled)
}

/// Takes the data out of spans that have ended: they go on their way whole, once.
pub(super) fn take(spans: &[Arc<SpanRecord>]) -> Vec<SpanData> {
    let take = |span: &Arc<SpanRecord>| {
        span.with(|state| {
            if std::mem::replace(&mut state.sent, true) {
                return Vec::new();
            }
            state.charge.set(0);
            state.decoder_charge.set(0);
            let hollow = SpanData { span_id: span.id, ..SpanData::new("", state.data.started_at) };
            let data = std::mem::replace(&mut state.data, hollow);
            [data].into_iter().chain(std::mem::take(&mut state.steps)).collect()
        })
    };
    spans.iter().flat_map(take).collect()
}

/// An open span as it is now.
pub(super) fn snapshot(span: &Arc<SpanRecord>, reporter: &Reporter) -> SpanData {
    let mut data = span.with(|state| state.data.clone());
    if let Some(decoder) = lock(&span.decoder).as_deref() {
        describe(decoder, &mut data, reporter);
    }
    data.status = SpanStatus::Unset;
    data.ended_at = None;
    data
}

/// Decides how a span ended: the one place for it.
pub(super) fn settle(span: &Arc<SpanRecord>, reporter: &Reporter) {
    let mut decoder = lock(&span.decoder).take();
    // Not under the span's lock: a decoder takes its time, and reports are heard by the application.
    let mut data = span.with(|state| state.data.clone());
    let mut steps = Vec::new();
    let mut answer = Answer::default();
    if let Some(decoder) = decoder.as_deref_mut() {
        answer = Answer { terminal: decoder.is_terminal(), stream: decoder.is_stream() };
        steps = finish(decoder, &mut data, reporter);
    }
    span.with(|state| {
        if std::mem::replace(&mut state.settled, true) {
            return;
        }
        if decoder.is_some() {
            // What the application set meanwhile stays.
            let metadata = std::mem::take(&mut state.data.metadata);
            data.metadata.extend(metadata);
            data.ended_at = state.data.ended_at;
            state.data = data;
        }
        let exit = state.exit.clone().unwrap_or(Exit::Done);
        apply_exit_to_span(&mut state.data, exit, answer);
        state.steps = steps.into_iter().map(|step| below(step, &state.data)).collect();
    });
    // It is the integration's code that runs when it is dropped.
    if catch_unwind(AssertUnwindSafe(|| drop(decoder))).is_err() {
        reporter.report(ReportKind::Panicked, "a decoder panicked");
    }
}

fn describe(decoder: &dyn Decode, data: &mut SpanData, reporter: &Reporter) {
    if catch_unwind(AssertUnwindSafe(|| decoder.describe(data))).is_err() {
        reporter.report(ReportKind::Panicked, "a decoder panicked");
    }
    flatten(data);
}

fn finish(decoder: &mut dyn Decode, data: &mut SpanData, reporter: &Reporter) -> Vec<SpanData> {
    let mut steps = catch_unwind(AssertUnwindSafe(|| decoder.finish(data))).unwrap_or_else(|_| {
        reporter.report(ReportKind::Panicked, "a decoder panicked");
        Vec::new()
    });
    flatten(data);
    steps.iter_mut().for_each(flatten);
    steps
}

/// What a decoder says of the answer that it saw; of no answer, nothing.
#[derive(Clone, Copy, Default)]
struct Answer {
    terminal: bool,
    stream: bool,
}

/// The step as a part of `span`, which has ended.
fn below(step: SpanData, span: &SpanData) -> SpanData {
    let status = match (step.status, &step.error) {
        (_, Some(_)) => SpanStatus::Error,
        (SpanStatus::Unset, None) => SpanStatus::Ok,
        (said, None) => said,
    };
    let ended_at = step.ended_at.or(span.ended_at);
    SpanData { parent_span_id: Some(span.span_id), status, ended_at, ..step }
}

fn apply_exit_to_span(data: &mut SpanData, exit: Exit, Answer { terminal, stream }: Answer) {
    match exit {
        Exit::Done => {}
        Exit::Failed(error) => fail(data, error),
        Exit::Panicked(message) => fail(data, panicked(message)),
        Exit::Unread if terminal => {}
        Exit::Unread if stream => end(data, "stopped_by_reader"),
        Exit::Left => end(data, "stopped_by_reader"),
        Exit::Cancelled | Exit::Unread => {
            fail(data, "cancelled".to_owned());
            end(data, "cancelled");
        }
        Exit::Shutdown if terminal => {}
        Exit::Shutdown => return end(data, "shutdown"),
    }
    if data.error.is_some() {
        data.status = SpanStatus::Error;
    } else if data.status == SpanStatus::Unset {
        data.status = SpanStatus::Ok;
    }
}

fn fail(data: &mut SpanData, error: String) {
    data.error = Some(error);
}

fn end(data: &mut SpanData, how: &str) {
    data.metadata.insert("pandaprobe.end".to_owned(), how.into());
}

fn panicked(message: Option<String>) -> String {
    message.map_or_else(|| "panicked".to_owned(), |message| format!("panicked: {message}"))
}

/// A trace is `ERROR` if its root ended so, else what the application said, else `COMPLETED`.
pub(super) fn apply_exit_to_trace(data: &mut TraceData, exit: Option<&Exit>, chosen: Option<TraceStatus>) {
    let (error, how) = match exit {
        None | Some(Exit::Done | Exit::Unread) => (None, None),
        Some(Exit::Left) => (None, Some("stopped_by_reader")),
        Some(Exit::Failed(error)) => (Some(error.clone()), None),
        Some(Exit::Panicked(message)) => (Some(panicked(message.clone())), None),
        Some(Exit::Cancelled) => (Some("cancelled".to_owned()), Some("cancelled")),
        Some(Exit::Shutdown) => (None, Some("shutdown")),
    };
    data.status = chosen.unwrap_or(data.status);
    if let Some(error) = error {
        data.status = TraceStatus::Error;
        data.metadata.insert("pandaprobe.error".to_owned(), error.into());
    }
    if let Some(how) = how {
        data.metadata.insert("pandaprobe.end".to_owned(), how.into());
    }
}

/// What a trace takes over from the span that is its root, once that has ended.
pub(super) fn adopt_root(span: &Arc<SpanRecord>) {
    if !span.is_root_of_its_trace() {
        return;
    }
    let (data, exit) = span.with(|state| (outline(&state.data), state.exit.clone()));
    span.trace.with(|state| {
        state.data.ended_at = data.ended_at;
        state.changed = true;
        state.exit = match (data.status, &data.error) {
            (SpanStatus::Error, error) => Some(Exit::Failed(error.clone().unwrap_or_default())),
            _ => exit.filter(|exit| *exit == Exit::Shutdown).or(Some(Exit::Done)),
        };
        adopt_io(&mut state.data, &data);
    });
}

/// A span without what its trace has no use for.
pub(super) fn outline(data: &SpanData) -> SpanData {
    SpanData {
        status: data.status,
        error: data.error.clone(),
        ended_at: data.ended_at,
        input: data.input.as_ref().map(last_user),
        output: data.output.as_ref().map(last_assistant),
        ..SpanData::new("", data.started_at)
    }
}

/// The input and output of a trace that is one span and what is below it.
pub(super) fn adopt_io(trace: &mut TraceData, root: &SpanData) {
    trace.input = root.input.clone().or_else(|| trace.input.take());
    trace.output = root.output.clone().or_else(|| trace.output.take());
}
