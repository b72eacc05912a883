//! The intake, the budget, the queue and what they make up together, in many interleavings of their threads.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    export::{Envelope, Payload},
    model::TraceId,
    report::Reporter,
};

mod budget;
mod intake;
mod queue;
mod whole;

pub(crate) use whole::{Whole, begin};

/// So far away that it does not come.
const NEVER: Duration = Duration::from_secs(3600);

fn reporter() -> Arc<Reporter> {
    Arc::new(Reporter::new(None, false))
}

fn envelope(trace_id: TraceId, bytes: usize) -> Envelope {
    Envelope::new(Payload::Trace, trace_id, Bytes::from(vec![b' '; bytes]))
}
