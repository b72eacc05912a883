//! Work that anybody may poll, and what is withheld meanwhile.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Frame, stack::current};

/// Work that others may poll, wherever those are: what is current while it runs says nothing of whose it is.
///
/// An integration says when such work is in flight. As long as any is, in the whole process, what is current is withheld from
/// all that begins: it has no user, session or place in a trace from there, its trace says so in
/// `metadata["pandaprobe.withheld"]`, and `on_error` hears of it. What is explicit counts, and
/// [callbacks](crate::OpenScope::for_callbacks) are left alone. That is a lot to withhold: where an integration can polls
/// others' work in [`Scope::nowhere`](crate::Scope::nowhere) instead, and runs its own where it belongs.
///
/// ```
/// use pandaprobe_core::{StrayWork, current_trace_id, trace, user};
///
/// # let client = pandaprobe_core::Client::new(
/// #     pandaprobe_core::Config::new().exporter(pandaprobe_core::MemoryExporter::default()))?;
/// # pandaprobe_core::Scope::new().client(client).run(|| {
/// user("ada").run(|| {
///     trace("agent").run(|_| {
///         let tool = StrayWork::begin();
///         assert!(current_trace_id().is_none(), "this could be a tool of somebody else");
///         drop(tool);
///         assert!(current_trace_id().is_some());
///     });
/// });
/// # });
/// # Ok::<_, pandaprobe_core::ConfigError>(())
/// ```
#[must_use = "the work is over when the guard is dropped: keep it as long as that runs"]
pub struct StrayWork {
    _private: (),
}

/// How many pieces are in flight.
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
/// Milliseconds of [`EPOCH`] until when what was given up counts. 0: nothing was.
static GIVEN_UP_UNTIL: AtomicU64 = AtomicU64::new(0);
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How long work that was given up may still be polled, by a thread that was just at it.
const LAST_POLL: Duration = Duration::from_secs(1);

impl StrayWork {
    /// A piece of such work is in flight until the guard is dropped.
    pub fn begin() -> Self {
        IN_FLIGHT.fetch_add(1, Ordering::AcqRel);
        Self { _private: () }
    }

    /// The work was given up, while another thread may be polling it: it counts for a second more.
    pub fn give_up(self) {
        let until = millis() + u64::try_from(LAST_POLL.as_millis()).unwrap_or(u64::MAX);
        GIVEN_UP_UNTIL.fetch_max(until, Ordering::AcqRel);
    }
}

impl Drop for StrayWork {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for StrayWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StrayWork")
    }
}

fn millis() -> u64 {
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn is_any_in_flight() -> bool {
    IN_FLIGHT.load(Ordering::Acquire) > 0 || {
        let until = GIVEN_UP_UNTIL.load(Ordering::Acquire);
        until > 0 && millis() < until
    }
}

/// What is current, if what is done here is surely that of whoever put it there: else a layer that says nothing.
pub(super) fn unless_strange(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    let is_strange = is_any_in_flight() && !frame.as_ref().is_some_and(|frame| frame.is_for_callbacks());
    if is_strange { Some(Frame::nowhere()) } else { frame }
}

/// Whether what is current where the program is, is withheld, because nobody knows whose it is what is done there; see
/// [`Scope::nowhere`](crate::Scope::nowhere) and [`StrayWork`].
pub fn is_withheld() -> bool {
    current().is_some_and(|frame| frame.is_nowhere())
}
