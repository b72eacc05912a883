//! The intake: whoever waits is woken, and nothing that was taken is lost.

use std::{sync::Arc, time::Instant};

use super::NEVER;
use crate::{
    model::{ScoreData, Timestamp, TraceData, TraceId},
    pipeline::{Event, budget::Charge, inbox::Inbox, queue::Waiter},
    sync::{
        later,
        model::{Time, explore},
        mpsc, thread,
    },
};

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
                            Event::Flush(_, waiter) => waiter(true),
                            Event::Stop(waiter) => stop = Some(waiter),
                            _ => {}
                        }
                    }
                }
                let rest = inbox.close();
                stop.into_iter().for_each(|waiter| waiter(true));
                names(&rest)
            })
        };
        let wait_for = |inbox: &Inbox, event: fn(Waiter) -> Event| {
            let (done, wait) = mpsc::sync_channel(1);
            let waiter = move |_| done.send(()).unwrap();
            inbox.send(event(Box::new(waiter))) && wait.recv().is_ok()
        };
        let callers = ["a", "b"].map(|caller| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                assert!(inbox.send(event(caller)));
                assert!(wait_for(&inbox, |waiter| Event::Flush(None, waiter)));
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
