//! The queue: each item is settled once, in the order of its trace, and whoever waits for that is told.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shuttle::future::block_on;

use super::{envelope, reporter};
use crate::{
    config::Overflow,
    model::TraceId,
    pipeline::{
        budget::{Budget, Charge},
        queue::Queue,
    },
    report::Reporter,
    sync::{
        model::{Time, explore},
        mpsc, thread,
    },
};

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
        let queue = Arc::new(Queue::new(most, Overflow::DropOldest, None, Arc::clone(&reporter)));
        let budget = Arc::new(Budget::new(usize::MAX, Arc::clone(&queue)));
        Arc::new(Self { queue, budget, reporter, traces: [TraceId::random(), TraceId::random()] })
    }

    /// Items of even numbers are of one trace, the others of the other.
    fn push(&self, number: usize) {
        let mut charge = Charge::empty(&self.budget);
        assert!(charge.grow(1 << number));
        self.queue.push_at(envelope(self.traces[number % 2], number), None, charge);
    }

    fn when_settled(&self) -> Called {
        let called = Called::default();
        let (here, budget) = (called.clone(), Arc::clone(&self.budget));
        self.queue.when_settled(Box::new(move |_| {
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
        items.queue.when_settled(Box::new(move |_| done.send(()).unwrap()));
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
                items.queue.drop_oldest(0);
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
