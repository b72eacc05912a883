//! The budget: what is held is what was taken and not given back.

use std::{sync::Arc, time::Instant};

use super::{NEVER, envelope, reporter};
use crate::{
    config::Overflow,
    model::TraceId,
    pipeline::{
        budget::{Budget, Charge},
        queue::Queue,
    },
    sync::{
        model::{Time, explore},
        thread,
    },
};

#[test]
fn no_more_is_held_than_the_budget_has() {
    const MOST: usize = 100;
    explore(Time::Passes, 10_000, || {
        let queue = Arc::new(Queue::new(usize::MAX, Overflow::DropOldest, None, reporter()));
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
                    queue.push_at(envelope(TraceId::random(), much), None, charge);
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

#[test]
fn whoever_waits_for_room_gets_it_once_it_is_there() {
    const MOST: usize = 100;
    explore(Time::StandsStill, 10_000, || {
        let queue = Arc::new(Queue::new(usize::MAX, Overflow::Block(NEVER), None, reporter()));
        let budget = Arc::new(Budget::new(MOST, queue));
        let threads = [60, 50, 45].map(|bytes| {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut charge = Charge::empty(&budget);
                    assert!(charge.grow(bytes));
                    assert!(budget.held() <= MOST, "{} are held", budget.held());
                    thread::yield_now();
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(budget.held(), 0);
    });
}
