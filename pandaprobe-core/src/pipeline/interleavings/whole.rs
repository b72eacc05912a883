//! The whole pipeline: what was flushed or begun before the shutdown is delivered, once.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use shuttle::future::block_on;

use super::{NEVER, reporter};
use crate::{
    Config,
    export::Envelope,
    identity::Ids,
    model::{Object, SpanData, Timestamp, TraceData, TraceId},
    pipeline::{
        Begun, Exit, Intake, Pipeline, Root, Settings, Shutdown, SpanRecord, TraceRecord,
        assembler::Assembler, budget::Budget, inbox::Inbox, queue::Queue,
    },
    report::ReportKind,
    sync::{
        Condvar, Mutex,
        model::{Time, explore},
        thread,
    },
};

/// A pipeline whose sender keeps what it gets.
pub(crate) struct Whole {
    pipeline: Arc<Pipeline>,
    threads: Vec<thread::JoinHandle<()>>,
    kept: Arc<std::sync::Mutex<Vec<Envelope>>>,
}

impl Whole {
    pub(crate) fn start(config: &Config) -> Self {
        let reporter = reporter();
        let settings = Settings::of(config);
        let queue = Arc::new(Queue::new(config.max_queue_size, config.overflow, None, Arc::clone(&reporter)));
        let budget = Arc::new(Budget::new(config.max_buffered_bytes, Arc::clone(&queue)));
        let inbox = Arc::new(Inbox::default());
        let intake = Intake::new(Arc::clone(&inbox), Arc::clone(&budget), Arc::clone(&reporter), &settings);
        let assembler =
            Assembler::new(settings, Arc::clone(&queue), Arc::clone(&budget), Arc::clone(&reporter));
        let kept = Arc::default();
        let sender = (Arc::clone(&queue), Arc::clone(&kept));
        let threads = vec![
            thread::spawn(move || assembler.run(&inbox)),
            thread::spawn(move || send(&sender.0, &sender.1)),
        ];
        let pipeline = Arc::new(Pipeline {
            intake,
            queue,
            budget,
            reporter,
            threads: Mutex::default(),
            adopt: Mutex::default(),
            left: Mutex::new(Shutdown::NotYet),
            is_shut_down: Condvar::new(),
        });
        Self { pipeline, threads, kept }
    }

    pub(crate) fn pipeline(&self) -> Arc<Pipeline> {
        Arc::clone(&self.pipeline)
    }

    /// Shuts down. What was delivered of each trace.
    pub(crate) fn stop(self) -> BTreeMap<TraceId, Delivered> {
        assert_eq!(self.pipeline.shutdown(NEVER), 0);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let mut traces: BTreeMap<TraceId, Delivered> = BTreeMap::new();
        for envelope in self.kept.lock().unwrap().iter() {
            traces.entry(envelope.trace_id()).or_default().add(envelope);
        }
        assert_eq!(self.pipeline.queue.len(), 0);
        traces
    }
}

fn send(queue: &Queue, kept: &std::sync::Mutex<Vec<Envelope>>) {
    while !queue.is_closed() {
        while let Some(item) = queue.take(Instant::now()) {
            kept.lock().unwrap().push(item.envelope.clone());
            queue.finish(item);
        }
        block_on(queue.changed());
    }
}

/// What the backend has of a trace in the end.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) posted: usize,
    pub(crate) users: Vec<Option<String>>,
    pub(crate) metadata: Object,
    pub(crate) spans: Vec<SpanData>,
}

impl Delivered {
    fn add(&mut self, envelope: &Envelope) {
        if let Some(trace) = envelope.trace() {
            self.posted += 1;
            self.users.push(trace.user_id);
            self.metadata.extend(trace.metadata);
            self.spans.extend(trace.spans);
        }
        if let Some(update) = envelope.update() {
            self.users.push(update.user_id);
            self.metadata.extend(update.metadata);
        }
        self.spans.extend(envelope.spans().into_iter().flatten());
    }

    /// How often a span was sent.
    fn count(&self, name: &str) -> usize {
        self.spans.iter().filter(|span| span.name == name).count()
    }
}

pub(crate) fn begin(intake: &Intake, ids: Ids) -> Option<Arc<TraceRecord>> {
    let begun = Begun {
        root: Root::Handle,
        begun_under: ids.clone(),
        ids,
        fallback: Ids::default(),
        capture: None,
        part: None,
    };
    TraceRecord::start(intake, begun, TraceData::new("trace", Timestamp::now()))
}

fn begin_span(trace: &Arc<TraceRecord>, name: &str) -> Option<Arc<SpanRecord>> {
    SpanRecord::start(trace, SpanData::new(name, trace.now()), None)
}

fn mark(trace: &Arc<TraceRecord>, key: &str) {
    trace.update(0, |state| {
        state.data.metadata.insert(key.to_owned(), true.into());
        0
    });
}

#[test]
fn what_was_flushed_is_delivered_whole_and_once() {
    for (live, time) in [(false, Time::StandsStill), (true, Time::Passes)] {
        explore(time, 2_000, move || {
            let whole = Whole::start(&Config::new().live(live));
            let callers = [(), ()].map(|()| {
                let (pipeline, kept) = (whole.pipeline(), Arc::clone(&whole.kept));
                thread::spawn(move || {
                    let trace = begin(pipeline.intake(), Ids::default()).unwrap();
                    let span = begin_span(&trace, "span").unwrap();
                    mark(&trace, "before");
                    span.end(Exit::Done);
                    trace.end(Exit::Done);
                    assert!(pipeline.flush(None, NEVER));
                    let kept: Vec<Envelope> = kept.lock().unwrap().clone();
                    assert!(kept.iter().any(|envelope| envelope.trace_id() == trace.id));
                    mark(&trace, "after");
                    trace.id
                })
            });
            let ids = callers.map(|caller| caller.join().unwrap());
            let delivered = whole.stop();
            assert_eq!(delivered.len(), 2);
            for id in ids {
                let trace = &delivered[&id];
                assert_eq!((trace.posted, trace.count("span")), (1, 1));
                assert!(["before", "after"].iter().all(|key| trace.metadata.contains_key(*key)));
            }
        });
    }
}

#[test]
fn what_was_begun_before_the_shutdown_is_delivered_and_all_else_counted() {
    explore(Time::StandsStill, 3_000, || {
        let whole = Whole::start(&Config::new());
        let callers = [(), ()].map(|()| {
            let pipeline = whole.pipeline();
            thread::spawn(move || {
                let trace = begin(pipeline.intake(), Ids::default());
                let spans = ["one", "two"].map(|name| {
                    let span = trace.as_ref().and_then(|trace| begin_span(trace, name));
                    span.iter().for_each(|span| span.end(Exit::Done));
                    span.is_some()
                });
                trace.iter().for_each(|trace| trace.end(Exit::Done));
                (trace.map(|trace| trace.id), spans)
            })
        });
        let other = {
            let pipeline = whole.pipeline();
            thread::spawn(move || assert_eq!(pipeline.shutdown(NEVER), 0))
        };
        let pipeline = whole.pipeline();
        let delivered = whole.stop();
        other.join().unwrap();
        let mut refused = 0;
        for (id, spans) in callers.map(|caller| caller.join().unwrap()) {
            let Some(trace) = id.map(|id| &delivered[&id]) else {
                refused += 1;
                continue;
            };
            assert_eq!(trace.posted, 1);
            assert_eq!(spans.map(usize::from), ["one", "two"].map(|name| trace.count(name)));
            refused += spans.iter().filter(|begun| !**begun).count();
        }
        assert_eq!(pipeline.stats().dropped_total(), refused as u64);
        assert_eq!(pipeline.budget.held(), 0);
    });
}

#[test]
fn a_value_is_delivered_or_told_to_be_late() {
    explore(Time::StandsStill, 3_000, || {
        let whole = Whole::start(&Config::new());
        let pipeline = whole.pipeline();
        let trace = begin(pipeline.intake(), Ids::default()).unwrap();
        let setter = {
            let trace = Arc::clone(&trace);
            thread::spawn(move || ["one", "two"].iter().for_each(|key| mark(&trace, key)))
        };
        let other = {
            let (pipeline, trace) = (Arc::clone(&pipeline), Arc::clone(&trace));
            thread::spawn(move || {
                trace.end(Exit::Done);
                pipeline.flush(None, NEVER)
            })
        };
        mark(&trace, "three");
        let delivered = whole.stop();
        setter.join().unwrap();
        other.join().unwrap();
        let trace = &delivered[&trace.id];
        assert_eq!(trace.posted, 1);
        let missing = ["one", "two", "three"].iter().filter(|key| !trace.metadata.contains_key(**key));
        let late = pipeline.reporter.stats().reports.get(&ReportKind::LateValue).copied().unwrap_or(0);
        assert!(missing.count() as u64 <= late, "{:?}, but {late} late", trace.metadata);
    });
}
