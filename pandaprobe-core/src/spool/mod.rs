//! What is finished and not yet acknowledged, on disk: it survives the death of the process.
//!
//! Each process has a directory of its own in that of the spool, with records that are only appended. The embedded stores that were
//! tried lose more than what is damaged, or lose everything without a sync, or bring a C compiler along; what is needed here
//! is a log with checksums.

mod record;
mod store;

use std::{
    collections::HashSet,
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
use store::{Left, Spot, Store, Writing};

/// What an item counts for at least. Each that is on disk takes some 300 bytes of memory too, and this bounds them.
const LEAST: u64 = 4 << 10;

/// Bytes of a segment, a quarter of what the spool may hold or less.
const LARGEST_SEGMENT: u64 = 8 << 20;
const SMALLEST_SEGMENT: u64 = 64 << 10;

/// The spool of one client.
pub(crate) struct Spool {
    path: PathBuf,
    target: SentTo,
    most: u64,
    how: Writing,
    /// Records that are on disk and not done.
    live: AtomicU64,
    /// The client's own, then those of processes that are gone. None after the shutdown.
    stores: Mutex<Vec<Option<Store>>>,
    /// What is there for other targets, and need not be read again.
    foreign: Mutex<HashSet<PathBuf>>,
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

impl Head {
    fn envelope(self, body: Bytes, place: Place) -> Envelope {
        // Nobody knows what became of the last attempt of a process that is gone.
        let is_inherited = place.store > 0;
        Envelope::again(self.payload, self.trace_id, self.request_id, body, is_inherited)
    }
}

/// What a record says of its item, and where the JSON begins.
fn head_of(record: &[u8]) -> Option<(Head, usize)> {
    let end = record.iter().position(|byte| *byte == b'\n')?;
    Some((serde_json::from_slice(&record[..end]).ok()?, end + 1))
}

/// Whether a client made this directory: nothing else is touched.
fn is_store(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once('-')
        .is_some_and(|(process, id)| process.parse::<u32>().is_ok() && Uuid::parse_str(id).is_ok())
}

impl Spool {
    /// Opens the spool that a configuration names, if any.
    pub(crate) fn open(config: &Config, reporter: &Arc<Reporter>) -> Result<Option<Self>, ConfigError> {
        let Some(path) = &config.spool else {
            return Ok(None);
        };
        let target = if config.exporter.is_some() { None } else { Target::of(config)? };
        let target = target.map(|target| SentTo {
            endpoint: target.endpoint.as_str().to_owned(),
            project: target.project_name.clone(),
        });
        let segment = (config.max_spool_bytes / 4).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
        let how = Writing { segment, sync: config.spool_sync };
        let name = || format!("{}-{}", std::process::id(), Uuid::new_v4().simple());
        let create = || Store::create(&path.join(name()), how);
        // One that is made at this moment may be taken for one that was left behind.
        let own = create().or_else(|_| create()).map_err(|error| ConfigError::Spool(error.to_string()))?;
        Ok(Some(Self {
            path: path.clone(),
            target: target.unwrap_or_default(),
            most: config.max_spool_bytes,
            how,
            live: AtomicU64::new(0),
            stores: Mutex::new(vec![Some(own)]),
            foreign: Mutex::default(),
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

    /// The item of a place; `None` if it is not there any more as it was written.
    pub(crate) fn read(&self, place: Place) -> io::Result<Option<Envelope>> {
        let mut stores = lock(&self.stores);
        let store = stores.get_mut(place.store).and_then(Option::as_mut);
        let body = store.ok_or(io::ErrorKind::BrokenPipe)?.read(place.spot)?;
        drop(stores);
        let parse = |mut body: Vec<u8>| {
            let (head, at) = head_of(&body)?;
            Some(head.envelope(Bytes::from(body.split_off(at)), place))
        };
        Ok(body.and_then(parse))
    }

    /// An item is delivered or dropped.
    pub(crate) fn done(&self, place: Place) {
        let mut stores = lock(&self.stores);
        let Some(slot) = stores.get_mut(place.store) else {
            return;
        };
        self.live.fetch_sub(1, Ordering::Relaxed);
        let done = slot.as_mut().map_or(Ok(()), |store| store.done(place.spot));
        // With the last record of a process that is gone its directory goes.
        slot.take_if(|store| place.store > 0 && store.is_empty());
        drop(stores);
        if let Err(error) = done {
            self.failed("written", &error);
        }
    }

    /// Leaves what is there to whoever comes next.
    pub(crate) fn release(&self) {
        lock(&self.stores).clear();
    }

    /// Takes over what processes that are gone have left for the same target: the items without their bodies.
    pub(crate) fn adopt(&self, mut take: impl FnMut(Envelope, Place)) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_new = |path: &PathBuf| is_store(path) && !lock(&self.foreign).contains(path);
        let mut paths: Vec<PathBuf> = paths.filter(is_new).collect();
        // The oldest first, as well as that can be said.
        paths.sort_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
        for path in paths {
            match self.adopt_one(&path) {
                Ok(items) => items.into_iter().for_each(|(envelope, place)| take(envelope, place)),
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.failed("taken over", &error),
            }
        }
    }

    fn adopt_one(&self, path: &Path) -> io::Result<Vec<(Envelope, Place)>> {
        let head = |body: &[u8]| head_of(body).map(|(head, _)| head);
        let Some(Left { mut store, records, mut damaged }) = Store::adopt(path, self.how, head)? else {
            return Ok(Vec::new());
        };
        let mut ours = Vec::new();
        for (spot, head) in records {
            match head {
                Some(head) if head.target == self.target => ours.push((spot, head)),
                Some(_) => {}
                None => {
                    damaged += 1;
                    store.done(spot)?;
                }
            }
        }
        // What is for others stays for them, and is for them to judge.
        if ours.is_empty() && !store.is_empty() {
            lock(&self.foreign).insert(path.to_owned());
            return Ok(Vec::new());
        }
        if damaged > 0 {
            let message = format!("{damaged} records of the spool were damaged");
            self.reporter.dropped(DropReason::SpoolDamaged, damaged, message);
        }
        let mut stores = lock(&self.stores);
        let index = stores.len();
        if index == 0 {
            return Ok(Vec::new());
        }
        self.live.fetch_add(ours.len() as u64, Ordering::Relaxed);
        // An empty one goes.
        stores.push(Some(store).filter(|store| !store.is_empty()));
        drop(stores);
        let item = |(spot, head): (Spot, Head)| {
            let place = Place { store: index, spot };
            (head.envelope(Bytes::new(), place), place)
        };
        Ok(ours.into_iter().map(item).collect())
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
        let _ = head_of(record.body);
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
