//! Where ids and times come from.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use uuid::Uuid;

use crate::model::{SpanId, Timestamp, TraceId};

/// Random ids and the clock of the machine, or, for tests, ids that are counted and a clock that is moved on by a
/// millisecond each time it is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamps(Option<Arc<Fixed>>);

#[derive(Debug, Default)]
struct Fixed {
    ids: AtomicU64,
    readings: AtomicU64,
}

/// 2026-01-01T00:00:00Z.
const FIXED_BEGIN: u64 = 1_767_225_600;

impl Stamps {
    #[cfg(feature = "testing")]
    pub(crate) fn fixed() -> Self {
        Self(Some(Arc::default()))
    }

    pub(super) fn trace_id(&self) -> TraceId {
        self.counted().map_or_else(TraceId::random, TraceId::from)
    }

    pub(super) fn span_id(&self) -> SpanId {
        self.counted().map_or_else(SpanId::random, SpanId::from)
    }

    fn counted(&self) -> Option<Uuid> {
        let number = self.0.as_ref()?.ids.fetch_add(1, Ordering::Relaxed) + 1;
        Some(uuid::Builder::from_random_bytes(u128::from(number).to_be_bytes()).into_uuid())
    }

    /// The time now, unless the clock is that of the machine.
    pub(super) fn fixed_now(&self) -> Option<Timestamp> {
        let reading = self.0.as_ref()?.readings.fetch_add(1, Ordering::Relaxed);
        Some(Timestamp::from(UNIX_EPOCH + Duration::from_secs(FIXED_BEGIN)) + Duration::from_millis(reading))
    }
}
