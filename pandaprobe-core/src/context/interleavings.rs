//! Who a trace belongs to, in many interleavings of the threads that say so.

use std::sync::Arc;

use super::{Scope, defaults::Defaults, set_user, user};
use crate::{
    Config,
    identity::{Ids, Slot},
    pipeline::{
        Exit, Root,
        interleavings::{Whole, begin},
    },
    sync::{
        model::{Time, explore},
        thread,
    },
    trace::Opening,
};

fn of(user: &str) -> Ids {
    Ids { user: Slot::user(user), session: Slot::Unset }
}

#[test]
fn a_slot_is_filled_once_and_with_what_is_then_delivered() {
    explore(Time::Passes, 3_000, || {
        let whole = Whole::start(&Config::new());
        let trace = begin(whole.pipeline().intake(), Ids::default()).unwrap();
        let threads = ["ada", "bob"].map(|name| {
            let trace = Arc::clone(&trace);
            thread::spawn(move || trace.admit(&of(name), &Ids::default()).then_some(name))
        });
        trace.end(Exit::Done);
        let admitted: Vec<&str> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert!(admitted.len() <= 1, "{admitted:?}");
        let delivered = whole.stop();
        let users = &delivered[&trace.id].users;
        assert_eq!(users.last().and_then(Option::as_deref), admitted.first().copied());
    });
}

#[test]
fn a_trace_is_of_who_the_scope_named_when_it_began() {
    explore(Time::StandsStill, 3_000, || {
        let whole = Whole::start(&Config::new());
        let scope = Arc::new(user("ada").open());
        let intake = whole.pipeline().intake().clone();
        let opener = {
            let (scope, intake) = (Arc::clone(&scope), intake.clone());
            thread::spawn(move || {
                scope.run(|| {
                    let opening = Opening { intake: Some(intake), ..Opening::named("trace") };
                    let trace = opening.trace(Root::Handle, |_| ()).unwrap();
                    trace.end(Exit::Done);
                    trace.id
                })
            })
        };
        let elsewhere = thread::spawn(move || {
            // What is current on one thread is not on another.
            let opening = Opening { intake: Some(intake), ..Opening::named("elsewhere") };
            let trace = opening.trace(Root::Handle, |_| ()).unwrap();
            trace.end(Exit::Done);
            trace.id
        });
        // A copy that was made before is not reached.
        let copy = scope.run(Scope::current);
        scope.run(|| set_user("bob"));
        let (inside, elsewhere) = (opener.join().unwrap(), elsewhere.join().unwrap());
        assert_eq!(copy.run(|| super::scoped_ids().user), Slot::user("ada"));
        assert_eq!(scope.run(|| super::scoped_ids().user), Slot::user("bob"));
        let delivered = whole.stop();
        let name = delivered[&inside].users[0].as_deref();
        assert!(matches!(name, Some("ada" | "bob")), "{name:?}");
        assert_eq!(delivered[&elsewhere].users, [None]);
    });
}

#[test]
fn the_default_is_of_one_thread_and_nobody_has_the_refused_one() {
    explore(Time::StandsStill, 10_000, || {
        let defaults = Arc::new(Defaults::default());
        let setters = ["ada", "bob"].map(|name| {
            let defaults = Arc::clone(&defaults);
            thread::spawn(move || {
                defaults.set("user", |ids| &mut ids.user, Slot::user(name));
                defaults.usable().user.value()
            })
        });
        let during = defaults.usable().user.value();
        let seen = setters.map(|setter| setter.join().unwrap());
        let owners: Vec<&String> = seen.iter().flatten().collect();
        assert_eq!(owners.len(), 1, "{seen:?}");
        assert!(during.is_none() || during.as_ref() == Some(owners[0]), "{during:?} of {seen:?}");
        for (seen, name) in seen.iter().zip(["ada", "bob"]) {
            assert!(seen.as_deref().is_none_or(|seen| seen == name), "{name} got the default of {seen:?}");
        }
        assert_eq!(defaults.usable().user, Slot::Unset, "once somebody was refused");
    });
}
