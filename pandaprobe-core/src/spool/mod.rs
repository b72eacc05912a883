//! What is finished and not yet acknowledged, on disk: it survives the death of the process.
//!
//! Each process has a directory of its own in that of the spool, with records that are only appended. The embedded stores that were
//! tried lose more than what is damaged, or lose everything without a sync, or bring a C compiler along; what is needed here
//! is a log with checksums.

mod record;
mod store;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    config::{Config, ConfigError, Target},
    export::{Envelope, Payload},
    model::TraceId,
    report::{DropReason, ReportKind, Reporter},
    sync::{Mutex, lock},
};
use store::{Spot, Store};

/// What an item counts for at least. Each that is on disk takes some 300 bytes of memory too, and this bounds them.
const LEAST: u64 = 4 << 10;

/// The spool of one client.
pub(crate) struct Spool {
    path: PathBuf,
    target: SentTo,
    most: u64,
    sync: bool,
    /// Records that are on disk and not done.
    live: AtomicU64,
    /// The client's own, then those of processes that are gone.
    stores: Mutex<Vec<Option<Store>>>,
    reporter: Arc<Reporter>,
}

/// Where an item stands on disk. It is done when it is delivered or dropped, which is for whoever holds this to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    store: usize,
    spot: Spot,
}

/// Where items are sent. The key is never written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SentTo {
    endpoint: String,
    project: String,
}

/// What a record says of its item before the JSON.
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(flatten)]
    target: SentTo,
    payload: Payload,
    trace_id: TraceId,
    request_id: Uuid,
}

impl Spool {
    /// Opens the spool that a configuration names, if any.
    pub(crate) fn open(config: &Config, reporter: &Arc<Reporter>) -> Result<Option<Self>, ConfigError> {
        let Some(path) = &config.spool else {
            return Ok(None);
        };
        let target = Target::of(config)?.filter(|_| config.exporter.is_none());
        let target = target.map(|target| SentTo {
            endpoint: target.endpoint.as_str().to_owned(),
            project: target.project_name.clone(),
        });
        let create = || {
            Store::create(
                &path.join(format!("{}-{}", std::process::id(), Uuid::new_v4().simple())),
                config.spool_sync,
            )
        };
        // One that is made at this moment may be taken for one that was left behind.
        let own = create().or_else(|_| create()).map_err(|error| ConfigError::Spool(error.to_string()))?;
        Ok(Some(Self {
            path: path.clone(),
            target: target.unwrap_or_default(),
            most: config.max_spool_bytes,
            sync: config.spool_sync,
            live: AtomicU64::new(0),
            stores: Mutex::new(vec![Some(own)]),
            reporter: Arc::clone(reporter),
        }))
    }

    /// How many items are on disk and not done.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether the oldest items should go.
    pub(crate) fn is_full(&self) -> bool {
        let on_disk = || lock(&self.stores).iter().flatten().map(Store::bytes).sum();
        (self.live() * LEAST).max(on_disk()) > self.most
    }

    /// Writes an item; `None`, reported, if that cannot be done.
    pub(crate) fn append(&self, envelope: &Envelope) -> Option<Place> {
        let head = Head {
            target: self.target.clone(),
            payload: envelope.payload(),
            trace_id: envelope.trace_id(),
            request_id: envelope.request_id(),
        };
        let head = serde_json::to_vec(&head).ok()?;
        let mut stores = lock(&self.stores);
        let written = stores.first_mut()?.as_mut()?.append(&[&head, b"\n", envelope.body()]);
        drop(stores);
        match written {
            Ok(spot) => {
                self.live.fetch_add(1, Ordering::Relaxed);
                Some(Place { store: 0, spot })
            }
            Err(error) => {
                self.failed("written", &error);
                None
            }
        }
    }

    /// The item of a place; `None`, reported, if it cannot be had any more.
    pub(crate) fn read(&self, place: Place) -> Option<Envelope> {
        let read = lock(&self.stores).get_mut(place.store)?.as_mut()?.read(place.spot);
        let body = read.unwrap_or_else(|error| {
            self.failed("read", &error);
            None
        })?;
        Self::parse(body).map(|(_, envelope)| envelope)
    }

    /// An item is delivered or dropped.
    pub(crate) fn done(&self, place: Place) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        let mut stores = lock(&self.stores);
        let Some(slot) = stores.get_mut(place.store) else {
            return;
        };
        let done = slot.as_mut().map_or(Ok(()), |store| store.done(place.spot));
        // With the last record of a process that is gone its directory goes.
        slot.take_if(|store| place.store > 0 && store.is_empty());
        drop(stores);
        if let Err(error) = done {
            self.failed("written", &error);
        }
    }

    /// Takes over what processes that are gone have left for the same target: the items without their bodies.
    pub(crate) fn adopt(&self, mut take: impl FnMut(Envelope, Place)) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        // The oldest first, as well as that can be said.
        paths.sort_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
        for path in paths {
            match self.adopt_one(&path) {
                Ok(items) => items.into_iter().for_each(|(envelope, place)| take(envelope, place)),
                // Somebody else may have been faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.failed("taken over", &error),
            }
        }
    }

    fn adopt_one(&self, path: &Path) -> io::Result<Vec<(Envelope, Place)>> {
        let Some((mut store, left, mut damaged)) = Store::adopt(path, self.sync)? else {
            return Ok(Vec::new());
        };
        let mut stores = lock(&self.stores);
        let index = stores.len();
        let mut items = Vec::new();
        for record in left {
            match Self::parse(record.body) {
                Some((target, envelope)) if target == self.target => {
                    items.push((envelope.without_body(), Place { store: index, spot: record.spot }));
                }
                Some(_) => {}
                None => {
                    damaged += 1;
                    store.done(record.spot)?;
                }
            }
        }
        // What is for others stays for them.
        if !items.is_empty() {
            stores.push(Some(store));
        }
        drop(stores);
        self.live.fetch_add(items.len() as u64, Ordering::Relaxed);
        if damaged > 0 {
            let message = format!("{damaged} records of the spool were damaged");
            self.reporter.dropped(DropReason::SpoolDamaged, damaged, message);
        }
        Ok(items)
    }

    fn parse(mut body: Vec<u8>) -> Option<(SentTo, Envelope)> {
        let end = body.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&body[..end]).ok()?;
        let body = Bytes::from(body.split_off(end + 1));
        Some((head.target, Envelope::again(head.payload, head.trace_id, head.request_id, body)))
    }

    fn failed(&self, what: &str, error: &io::Error) {
        self.reporter.report(ReportKind::SpoolFailed, format!("the spool could not be {what}: {error}"));
    }
}

/// Reads `bytes` as a segment and as a list of what is done. What is found stands there, and a whole record behind
/// them is found too.
#[cfg(pandaprobe_fuzz)]
pub fn fuzz_segment(bytes: &[u8]) {
    let count = record::scan_done(bytes).count();
    assert!(count <= bytes.len() / 12);
    let (found, damaged) = record::scan(bytes);
    for record in &found {
        assert!(bytes[record.at + record::HEAD..].starts_with(record.body));
        let _ = Spool::parse(record.body.to_vec());
    }
    assert!(
        found.is_sorted_by_key(|record| record.at) && (bytes.is_empty() || damaged > 0 || !found.is_empty())
    );
    let last = record::encode(u64::MAX, &[b"the last"]).unwrap_or_default();
    let more = [bytes, &last].concat();
    let (all, _) = record::scan(&more);
    assert!(all.last().is_some_and(|record| record.number == u64::MAX && record.body == b"the last"));
    assert!(all.len() > found.len());
}
