//! The intake, the budget, the queue and what they make up together, in many interleavings of their threads.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use shuttle::future::block_on;

use super::{assembler::Assembler, inbox::Inbox, queue::Queue, *};
use crate::{
    export::{Envelope, Payload},
    identity::Ids,
    model::{Object, SpanData, Timestamp, TraceData, TraceId},
    report::ReportKind,
    sync::{
        model::{Time, explore},
        thread,
    },
};

/// So far away that it does not come.
const NEVER: Duration = Duration::from_secs(3600);

fn reporter() -> Arc<Reporter> {
    Arc::new(Reporter::new(None, false))
}

// ---- the intake

fn event(name: impl Into<String>) -> Event {
    let trace = Box::new(TraceData::new(name, Timestamp::now()));
    Event::Logged { trace, charge: Charge::default() }
}

fn names(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::Logged { trace, .. } => Some(trace.name.clone()),
        _ => None,
    };
    events.iter().filter_map(name).collect()
}

/// What `sender` sent of `seen`, in order.
fn sent_by(sender: &str, seen: &[String]) -> Vec<String> {
    seen.iter().filter(|name| name.starts_with(sender)).cloned().collect()
}

#[test]
fn an_event_wakes_the_reader() {
    explore(Time::Passes, 10_000, || {
        let inbox = Arc::new(Inbox::default());
        let senders = ["a", "b"].map(|sender| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                for number in 0..3 {
                    assert!(inbox.send(event(format!("{sender}{number}"))));
                }
            })
        });
        let mut seen = Vec::new();
        while seen.len() < 6 {
            seen.extend(names(&inbox.receive(None)));
        }
        for sender in senders {
            sender.join().unwrap();
        }
        for sender in ["a", "b"] {
            assert_eq!(sent_by(sender, &seen), (0..3).map(|n| format!("{sender}{n}")).collect::<Vec<_>>());
        }
    });
}

#[test]
fn who_waits_ends_the_nap() {
    explore(Time::StandsStill, 10_000, || {
        let inbox = Arc::new(Inbox::default());
        let reader = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let mut stop = None;
                while stop.is_none() {
                    for event in inbox.receive(Some(later(NEVER))) {
                        match event {
                            Event::Flush(waiter) => waiter(),
                            Event::Stop(waiter) => stop = Some(waiter),
                            _ => {}
                        }
                    }
                }
                let rest = inbox.close();
                stop.into_iter().for_each(|waiter| waiter());
                names(&rest)
            })
        };
        let wait_for = |inbox: &Inbox, event: fn(queue::Waiter) -> Event| {
            let (done, wait) = mpsc::sync_channel(1);
            let waiter = move || done.send(()).unwrap();
            inbox.send(event(Box::new(waiter))) && wait.recv().is_ok()
        };
        let callers = ["a", "b"].map(|caller| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                assert!(inbox.send(event(caller)));
                assert!(wait_for(&inbox, Event::Flush));
                assert!(inbox.send(event(caller)));
            })
        });
        for caller in callers {
            caller.join().unwrap();
        }
        assert!(wait_for(&inbox, Event::Stop));
        assert!(reader.join().unwrap().is_empty());
    });
}

#[test]
fn many_events_end_a_nap() {
    const EACH: usize = 512;
    explore(Time::StandsStill, 50, || {
        let inbox = Arc::new(Inbox::default());
        let senders = [(), ()].map(|()| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                for _ in 0..EACH {
                    assert!(inbox.send(Event::Score {
                        score: Box::new(ScoreData::new(TraceId::random(), "score", true).unwrap()),
                        charge: Charge::default(),
                    }));
                }
            })
        });
        let mut seen = 0;
        while seen < 2 * EACH {
            seen += inbox.receive(None).len();
        }
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(seen, 2 * EACH);
    });
}

#[test]
fn what_comes_after_the_close_is_refused_and_all_else_received() {
    explore(Time::Passes, 10_000, || {
        let inbox = Arc::new(Inbox::default());
        let senders = ["a", "b"].map(|sender| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let sent = (0..3).map(|number| format!("{sender}{number}"));
                sent.filter(|name| inbox.send(event(name.clone()))).collect::<Vec<_>>()
            })
        });
        let mut seen = names(&inbox.receive(Some(Instant::now())));
        seen.extend(names(&inbox.close()));
        for (name, sender) in ["a", "b"].into_iter().zip(senders) {
            assert_eq!(sender.join().unwrap(), sent_by(name, &seen));
        }
        assert!(!inbox.send(event("late")));
        assert!(inbox.close().is_empty());
    });
}

// ---- the budget

fn envelope(trace_id: TraceId, bytes: usize) -> Envelope {
    Envelope::new(Payload::Trace, trace_id, Bytes::from(vec![b' '; bytes]))
}

#[test]
fn no_more_is_held_than_the_budget_has() {
    const MOST: usize = 100;
    explore(Time::Passes, 10_000, || {
        let queue = Arc::new(Queue::new(usize::MAX, reporter()));
        let budget = Arc::new(Budget::new(MOST, Arc::clone(&queue)));
        let take = |budget: &Arc<Budget>, bytes| {
            let mut charge = Charge::empty(budget);
            let had = charge.grow(bytes);
            assert!(budget.held() <= MOST, "{} are held", budget.held());
            had.then_some(charge)
        };
        let threads = [(60, 30), (50, 20), (40, 40)].map(|(much, little)| {
            let (queue, budget) = (Arc::clone(&queue), Arc::clone(&budget));
            thread::spawn(move || {
                if let Some(charge) = take(&budget, much) {
                    queue.push(envelope(TraceId::random(), much), charge);
                }
                let (one, other) = (take(&budget, little), take(&budget, little));
                if let (Some(mut one), Some(other)) = (one, other) {
                    one.absorb(other);
                    assert!(budget.held() >= 2 * little);
                    one.shrink(little);
                    assert!(budget.held() >= little);
                }
            })
        });
        if let Some(item) = queue.take(Instant::now()) {
            queue.finish(item);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(budget.held(), queue.waiting_bytes());
        queue.close();
        assert_eq!((budget.held(), queue.waiting_bytes(), queue.len()), (0, 0, 0));
    });
}

// ---- the queue

/// A queue whose items hold a bit of the budget each, so that it shows which are neither delivered nor dropped.
struct Items {
    queue: Arc<Queue>,
    budget: Arc<Budget>,
    reporter: Arc<Reporter>,
    traces: [TraceId; 2],
}

/// How often a waiter was called, and which items were held then.
#[derive(Clone, Default)]
struct Called {
    times: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
}

impl Items {
    fn new(most: usize) -> Arc<Self> {
        let reporter = reporter();
        let queue = Arc::new(Queue::new(most, Arc::clone(&reporter)));
        let budget = Arc::new(Budget::new(usize::MAX, Arc::clone(&queue)));
        Arc::new(Self { queue, budget, reporter, traces: [TraceId::random(), TraceId::random()] })
    }

    /// Items of even numbers are of one trace, the others of the other.
    fn push(&self, number: usize) {
        let mut charge = Charge::empty(&self.budget);
        assert!(charge.grow(1 << number));
        self.queue.push(envelope(self.traces[number % 2], number), charge);
    }

    fn when_settled(&self) -> Called {
        let called = Called::default();
        let (here, budget) = (called.clone(), Arc::clone(&self.budget));
        self.queue.when_settled(Box::new(move || {
            here.times.fetch_add(1, Ordering::Relaxed);
            here.held.store(budget.held(), Ordering::Relaxed);
        }));
        called
    }

    fn dropped(&self) -> usize {
        usize::try_from(self.reporter.stats().dropped_total()).unwrap()
    }

    /// Takes what may leave and tries it on a thread of its own, as often as `attempts` says, until the queue is
    /// closed. What was delivered, in order.
    fn deliver(&self, attempts: fn(usize) -> usize) -> Vec<usize> {
        let delivered = Arc::new(std::sync::Mutex::new(Vec::new()));
        let under_way = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        let mut tried = HashMap::new();
        while !self.queue.is_closed() {
            while let Some(item) = self.queue.take(Instant::now()) {
                let (id, number) = (item.envelope.trace_id(), item.envelope.body().len());
                let tried = tried.entry(number).or_insert(0);
                *tried += 1;
                let (begun, succeeds) = (Instant::now(), *tried >= attempts(number));
                assert!(!under_way.lock().unwrap().contains(&id), "two items of a trace are under way");
                under_way.lock().unwrap().push(id);
                let (queue, delivered, under_way) =
                    (Arc::clone(&self.queue), Arc::clone(&delivered), Arc::clone(&under_way));
                threads.push(thread::spawn(move || {
                    thread::yield_now();
                    under_way.lock().unwrap().retain(|other| *other != id);
                    if succeeds {
                        delivered.lock().unwrap().push(number);
                        queue.answered(begun);
                        queue.finish(item);
                    } else {
                        queue.pause(Duration::ZERO);
                        queue.delay(item, Duration::ZERO);
                    }
                }));
            }
            match self.queue.next_look() {
                Some(_) => thread::yield_now(),
                None => block_on(self.queue.changed()),
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let delivered = delivered.lock().unwrap();
        delivered.clone()
    }

    /// What was pushed was delivered or dropped, once, in the order of its trace, and nothing is held any more.
    fn assert_settled(&self, pushed: usize, delivered: &[usize]) {
        assert_eq!(delivered.len() + self.dropped(), pushed);
        for trace in [0, 1] {
            let of_trace: Vec<usize> = delivered.iter().copied().filter(|item| item % 2 == trace).collect();
            assert!(of_trace.is_sorted_by(|one, next| one < next), "out of order: {of_trace:?}");
        }
        assert_eq!((self.budget.held(), self.queue.waiting_bytes(), self.queue.len()), (0, 0, 0));
    }
}

impl Called {
    /// It was called once, and none of the first `items` was held then.
    fn assert_after(&self, items: usize) {
        assert_eq!(self.times.load(Ordering::Relaxed), 1);
        let held = self.held.load(Ordering::Relaxed) & ((1 << items) - 1);
        assert_eq!(held, 0, "was called while items were held: {held:#b}");
    }
}

#[test]
fn items_are_settled_once_in_the_order_of_their_trace() {
    explore(Time::Passes, 10_000, || {
        let items = Items::new(usize::MAX);
        let sender = {
            let items = Arc::clone(&items);
            thread::spawn(move || items.deliver(|number| if number == 0 { 2 } else { 1 }))
        };
        let (done, wait) = mpsc::sync_channel(1);
        (0..3).for_each(|number| items.push(number));
        let middle = items.when_settled();
        (3..5).for_each(|number| items.push(number));
        let end = items.when_settled();
        items.queue.when_settled(Box::new(move || done.send(()).unwrap()));
        wait.recv().unwrap();
        assert_eq!(items.queue.close(), 0);
        let delivered = sender.join().unwrap();
        middle.assert_after(3);
        end.assert_after(5);
        assert_eq!(delivered.len(), 5);
        items.assert_settled(5, &delivered);
    });
}

#[test]
fn items_that_are_dropped_for_newer_ones_or_at_the_close_are_settled() {
    explore(Time::Passes, 10_000, || {
        let items = Items::new(2);
        let sender = {
            let items = Arc::clone(&items);
            thread::spawn(move || items.deliver(|number| if number < 2 { 2 } else { 1 }))
        };
        let other = {
            let items = Arc::clone(&items);
            thread::spawn(move || {
                items.queue.drop_oldest();
                items.when_settled()
            })
        };
        (0..3).for_each(|number| items.push(number));
        let middle = items.when_settled();
        (3..5).for_each(|number| items.push(number));
        let end = items.when_settled();
        items.queue.close();
        items.push(5);
        let (delivered, some) = (sender.join().unwrap(), other.join().unwrap());
        some.assert_after(0);
        middle.assert_after(3);
        end.assert_after(5);
        items.assert_settled(6, &delivered);
    });
}

// ---- what they make up together

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
        let queue = Arc::new(Queue::new(config.max_queue_size, Arc::clone(&reporter)));
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
    let begun = Begun { root: Root::Handle, begun_under: ids.clone(), ids, capture: None, part: None };
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
                    assert!(pipeline.flush(NEVER));
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
                pipeline.flush(NEVER)
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
