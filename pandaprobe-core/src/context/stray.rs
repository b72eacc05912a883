//! Work that is not polled by whom it belongs to, and what is withheld from it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock},
};

use tokio::task;

use super::{Frame, stack::innermost};
use crate::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    lock,
    thread::{self, ThreadId},
};

/// Work that any run of a framework may poll, whosever it is: what is current while it runs says nothing of it.
///
/// An integration says when such work is [in flight](Self::begin) and [where it may be polled](Self::polled_here). As long as
/// some is, what is current in those places is withheld from all that begins there: it has no user, session or place in
/// a trace from there, its trace says so in `metadata["pandaprobe.withheld"]`, and `on_error` hears of it. The process
/// default is withheld where nothing is current at all. What is inside of a scope that the work itself carries is left alone.
///
/// ```
/// use pandaprobe_core::{StrayWork, current_trace_id, trace, user};
///
/// # let client = pandaprobe_core::Client::new(
/// #     pandaprobe_core::Config::new().exporter(pandaprobe_core::MemoryExporter::default()))?;
/// # pandaprobe_core::Scope::new().client(client).run(|| {
/// let stray = StrayWork::default();
/// user("ada").run(|| {
///     trace("agent").run(|_| {
///         let _here = stray.polled_here();
///         assert!(current_trace_id().is_some());
///         let tool = stray.begin();
///         assert!(current_trace_id().is_none(), "this could be a tool of somebody else");
///         drop(tool);
///         assert!(current_trace_id().is_some());
///     });
/// });
/// # });
/// # Ok::<_, pandaprobe_core::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct StrayWork {
    in_flight: Arc<AtomicUsize>,
}

impl StrayWork {
    /// A piece of such work is in flight until the guard is dropped.
    pub fn begin(&self) -> Stray {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Stray(self.clone())
    }

    /// Such work may be polled where the program is: in the scope, trace or span that is innermost here, or, where there is
    /// none, in this task or thread. The place is as before once the guard was dropped and it is entered again.
    pub fn polled_here(&self) -> PolledHere {
        let (strangers, bare) = match innermost() {
            Some(frame) => (Arc::clone(frame.strangers.get_or_init(Arc::default)), None),
            None => {
                let place = Bare::here();
                (place.enter(), Some(place))
            }
        };
        let is_polled = strangers.add(self);
        PolledHere { strangers, is_polled, bare }
    }

    /// Whether the program is where such work may be polled, whether or not some is in flight.
    pub fn is_polled_here(&self) -> bool {
        let is_this = |stranger: &Stranger| Arc::ptr_eq(&stranger.work.in_flight, &self.in_flight);
        about(innermost().as_ref(), is_this)
    }

    fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }
}

impl fmt::Debug for StrayWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrayWork").field("in_flight", &self.in_flight.load(Ordering::Acquire)).finish()
    }
}

/// Work that is in flight; see [`StrayWork::begin`].
#[derive(Debug)]
#[must_use = "the work is over when the guard is dropped: keep it as long as that runs"]
pub struct Stray(StrayWork);

impl Drop for Stray {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A place where work may be polled; see [`StrayWork::polled_here`].
#[must_use = "the place is as before when the guard is dropped: keep it as long as work is polled there"]
pub struct PolledHere {
    strangers: Arc<Strangers>,
    is_polled: Arc<AtomicBool>,
    bare: Option<Bare>,
}

impl Drop for PolledHere {
    fn drop(&mut self) {
        // A run that ends may poll once more what is in flight, after it dropped all that it knew. So the mark stays
        // until the place is entered again.
        self.is_polled.store(false, Ordering::Release);
        self.strangers.left.store(true, Ordering::Release);
        self.bare.into_iter().for_each(Bare::leave);
    }
}

impl fmt::Debug for PolledHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolledHere")
    }
}

/// Whose work may be polled in a place.
#[derive(Default)]
pub(super) struct Strangers {
    any: AtomicBool,
    /// Some of them are not polled there any more.
    left: AtomicBool,
    known: Mutex<Vec<Stranger>>,
}

struct Stranger {
    work: StrayWork,
    is_polled: Arc<AtomicBool>,
}

impl Strangers {
    fn add(&self, work: &StrayWork) -> Arc<AtomicBool> {
        let is_polled = Arc::new(AtomicBool::new(true));
        let mut known = lock(&self.known);
        known.retain(Stranger::is_polled);
        known.push(Stranger { work: work.clone(), is_polled: Arc::clone(&is_polled) });
        self.any.store(true, Ordering::Release);
        is_polled
    }

    fn include(&self, wanted: impl Fn(&Stranger) -> bool) -> bool {
        self.any.load(Ordering::Acquire) && lock(&self.known).iter().any(wanted)
    }

    /// The place is entered: those that left are gone.
    pub(super) fn entered(&self) {
        if self.left.swap(false, Ordering::AcqRel) {
            let mut known = lock(&self.known);
            known.retain(Stranger::is_polled);
            self.any.store(!known.is_empty(), Ordering::Release);
        }
    }
}

impl Stranger {
    fn is_polled(&self) -> bool {
        self.is_polled.load(Ordering::Acquire)
    }
}

/// A place in which nothing is current.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Bare {
    Task(task::Id),
    Thread(ThreadId),
}

/// Those of them where work is polled, and how many runs poll there.
static BARE: LazyLock<Mutex<HashMap<Bare, (usize, Arc<Strangers>)>>> = LazyLock::new(Mutex::default);
/// How many they are. Mostly none, so that nobody needs the lock.
static BARE_PLACES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

impl Bare {
    fn here() -> Self {
        task::try_id().map_or_else(|| Self::Thread(thread::current().id()), Self::Task)
    }

    fn enter(self) -> Arc<Strangers> {
        let mut places = lock(&BARE);
        let (polling, strangers) = places.entry(self).or_default();
        *polling += 1;
        let strangers = Arc::clone(strangers);
        BARE_PLACES.store(places.len(), Ordering::Release);
        strangers
    }

    fn leave(self) {
        let mut places = lock(&BARE);
        if let Some((polling, _)) = places.get_mut(&self) {
            *polling -= 1;
            if *polling == 0 {
                places.remove(&self);
            }
        }
        BARE_PLACES.store(places.len(), Ordering::Release);
    }
}

/// Whether such a stranger as is `wanted` may be polled in `frame`, or here if that is none.
fn about(frame: Option<&Arc<Frame>>, wanted: impl Fn(&Stranger) -> bool) -> bool {
    match frame {
        Some(frame) => frame.strangers.get().is_some_and(|strangers| strangers.include(wanted)),
        None if BARE_PLACES.load(Ordering::Acquire) == 0 => false,
        None => {
            let strangers = lock(&BARE).get(&Bare::here()).map(|(_, strangers)| Arc::clone(strangers));
            strangers.is_some_and(|strangers| strangers.include(wanted))
        }
    }
}

/// What is current, if what is done here is surely that of whoever put it there: else a layer that says nothing.
pub(super) fn unless_strange(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    if about(frame.as_ref(), |stranger| stranger.work.is_in_flight()) {
        Some(Frame::nowhere())
    } else {
        frame
    }
}
