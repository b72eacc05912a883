//! Where something that is recorded belongs: the one place that decides between the trace that is current and
//! a trace of its own.

use std::sync::{Arc, OnceLock};

use crate::{
    client::{self, Client},
    context::{Position, Surroundings, current, ids_within, is_withheld},
    identity::Ids,
    model::{Object, SpanData, Timestamp, TraceData},
    pipeline::{self, Decode, Exit, Intake, LoopPart, Root, SpanRecord, TraceRecord},
    report::ReportKind,
};

/// The metadata key that leads from a trace to the one it was begun in.
const PARENT_TRACE: &str = "pandaprobe.parent_trace_id";

/// The metadata key of a trace that began where nobody knows whose it is.
const WITHHELD: &str = "pandaprobe.withheld";

/// What to do where no trace is open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Alone {
    /// Nothing: a bare span.
    Skip,
    /// Open a trace: wrappers and handlers.
    OwnTrace,
}

/// A trace or span that is about to begin.
#[derive(Default)]
pub(crate) struct Opening {
    pub(crate) name: String,
    pub(crate) ids: Ids,
    /// Whose it is where nobody else says.
    pub(crate) fallback: Ids,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: Object,
    pub(crate) client: Option<Client>,
    /// Where to go instead of where the program is.
    pub(crate) position: Option<Position>,
    pub(crate) decoder: Option<Box<dyn Decode>>,
    /// Where to record unless a client is named.
    pub(crate) intake: Option<Intake>,
    /// What it may be in a tool loop, where no trace is open.
    pub(crate) part: Option<LoopPart>,
    /// When it began, if it is told of late.
    pub(crate) started_at: Option<Timestamp>,
}

/// A span that has begun, and whether a trace was opened for it.
pub(crate) struct Begun {
    pub(crate) span: Arc<SpanRecord>,
    pub(crate) own_trace: bool,
}

impl Opening {
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// [`named`](Self::named), but if nothing is recorded at all, nothing is copied.
    pub(crate) fn wanted(name: impl Into<String>) -> Self {
        if client::anything_enabled() { Self::named(name) } else { Self::default() }
    }

    pub(super) fn intake(&self) -> Option<Intake> {
        match &self.client {
            Some(client) => client.intake().cloned(),
            None => self.intake.clone().or_else(|| client::current()?.intake().cloned()),
        }
    }

    /// Begins a trace; `None` if nothing is recorded.
    pub(crate) fn trace(self, root: Root, fill: impl FnOnce(&mut TraceData)) -> Option<Arc<TraceRecord>> {
        let intake = self.intake()?;
        let mut here = Surroundings::here(&self.ids);
        let mut data = TraceData::new(self.name, Timestamp::now());
        data.add_tags(std::mem::take(&mut here.tags).into_iter().chain(self.tags));
        data.metadata = std::mem::take(&mut here.metadata);
        data.metadata.extend(self.metadata);
        if let Some(position) = self.position.or_else(|| current()?.position()) {
            data.metadata.insert(PARENT_TRACE.to_owned(), position.trace.id.to_string().into());
        }
        fill(&mut data);
        if is_withheld() {
            data.metadata.insert(WITHHELD.to_owned(), "nobody knows whose it is".into());
            intake.reporter.report(ReportKind::IdentityWithheld, withheld("a trace", &data.name));
        }
        let capture = current().and_then(|frame| frame.capture());
        if let Some(session) =
            capture.as_ref().map(|capture| capture.session()).filter(|slot| !slot.is_unset())
        {
            here.ids.session = session.clone();
        }
        let (ids, begun_under) = (here.ids.clone(), here.scoped.clone());
        let fallback = self.fallback;
        let begun = pipeline::Begun { root, ids, fallback, begun_under, capture, part: self.part };
        let record = TraceRecord::start(&intake, begun, data)?;
        here.begun(&record);
        Some(record)
    }

    /// Begins a span: in the trace that is current unless its identity is somebody else's, else as `alone` says.
    /// `None` if nothing is recorded.
    pub(crate) fn span(mut self, alone: Alone, fill: impl FnOnce(&mut SpanData)) -> Option<Begun> {
        if !client::anything_enabled() {
            return None;
        }
        let position = self.position.clone().or_else(|| current()?.position());
        let joined = position.as_ref().filter(|position| self.may_join(position));
        if let Some(position) = joined {
            let span = self.join(position, fill)?;
            return Some(Begun { span, own_trace: false });
        }
        if position.is_none() && alone == Alone::Skip {
            if is_withheld() {
                client::report(ReportKind::IdentityWithheld, withheld("a span", &self.name));
            }
            return None;
        }
        self.part = self.part.filter(|_| position.is_none());
        // What leaves a trace because it is somebody else's is recorded where that trace is.
        self.intake = position.map(|position| position.trace.intake.clone());
        let decoder = self.decoder.take();
        let (name, started_at) = (self.name.clone(), self.started_at);
        let trace = self.trace(Root::Span(OnceLock::new()), |_| ())?;
        let mut data = SpanData::new(name, started_at.unwrap_or_else(|| trace.now()));
        if let Some(started_at) = started_at {
            trace.with(|state| state.data.started_at = started_at);
        }
        fill(&mut data);
        let Some(span) = SpanRecord::start(&trace, data, decoder) else {
            // The trace says what was left out, and does not wait for a root that will never end.
            trace.end(Exit::Done);
            return None;
        };
        Some(Begun { span, own_trace: true })
    }

    /// Whether this belongs to whom the trace at `position` belongs to.
    fn may_join(&self, position: &Position) -> bool {
        let same_client = self.client.as_ref().is_none_or(|client| {
            let reporter = |intake: &Intake| Arc::as_ptr(&intake.reporter);
            client.intake().map(reporter) == Some(reporter(&position.trace.intake))
        });
        same_client && position.trace.admit(&ids_within(&self.ids, position), &self.fallback)
    }

    fn join(&mut self, position: &Position, fill: impl FnOnce(&mut SpanData)) -> Option<Arc<SpanRecord>> {
        let trace = &position.trace;
        if !self.tags.is_empty() {
            let tags = std::mem::take(&mut self.tags);
            trace.update(0, |state| {
                state.data.add_tags(tags);
                0
            });
        }
        let started_at = self.started_at.unwrap_or_else(|| trace.now());
        let mut data = SpanData::new(std::mem::take(&mut self.name), started_at);
        data.parent_span_id = position.span.as_ref().map(|span| span.id);
        data.metadata = std::mem::take(&mut self.metadata);
        fill(&mut data);
        SpanRecord::start(trace, data, self.decoder.take())
    }
}

fn withheld(what: &str, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!(
        "{what} ({name:?}) began where nobody knows whose it is, and has no user, session or parent from there"
    )
}
