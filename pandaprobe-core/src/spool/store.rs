//! The records of one process: segments of a few MiB, beside each a list of what is done of it, and a lock that says that the
//! process is alive.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::record::{self, HEAD};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    segment: u64,
    number: u64,
    at: u64,
    length: usize,
}

/// A directory of segments that nobody else uses.
pub(super) struct Store {
    path: PathBuf,
    _lock: File,
    how: Writing,
    segments: BTreeMap<u64, Segment>,
    /// The segment that is written, and its file.
    current: Option<(u64, File)>,
    /// The segment that was read last, and its file.
    open: Option<(u64, File)>,
    next: u64,
}

/// How a store is written.
#[derive(Clone, Copy)]
pub(super) struct Writing {
    /// Bytes after which the next segment begins.
    pub(super) segment: u64,
    /// Each record is synced.
    pub(super) sync: bool,
}

#[derive(Default)]
struct Segment {
    bytes: u64,
    /// Records that are not done.
    live: usize,
    done: Option<File>,
    /// What could not be written of the list of what is done.
    done_unwritten: Vec<u8>,
}

/// What a process left behind.
pub(super) struct Left<T> {
    pub(super) store: Store,
    /// What is not done, as it was read.
    pub(super) records: Vec<(Spot, T)>,
    /// How many places are damaged.
    pub(super) damaged: u64,
}

impl Store {
    /// A new one in `path`, which must not exist.
    pub(super) fn create(path: &Path, how: Writing) -> io::Result<Self> {
        private_dir(path)?;
        let lock = private().create_new(true).write(true).open(path.join("lock"))?;
        lock.try_lock()?;
        // Somebody may have taken it for one that was left behind.
        fs::metadata(path.join("lock"))?;
        Ok(Self::of(path, lock, how))
    }

    /// One that a process left behind, each record of it read by `read` while its segment is in memory. `None` if the process is
    /// alive. After an error it is as it was.
    pub(super) fn adopt<T>(
        path: &Path,
        how: Writing,
        read: impl Fn(&[u8]) -> T,
    ) -> io::Result<Option<Left<T>>> {
        // There is no lock if the process died while it made or removed the directory.
        let lock = private().create(true).truncate(false).write(true).open(path.join("lock"))?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let mut names: Vec<u64> =
            fs::read_dir(path)?.filter_map(|entry| segment_of(&entry.ok()?.path())).collect();
        names.sort_unstable();
        let (mut segments, mut records, mut damaged) = (BTreeMap::new(), Vec::new(), 0);
        for name in names {
            let bytes = fs::read(segment_path(path, name))?;
            let done = match fs::read(done_path(path, name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                done => done?,
            };
            let done: HashSet<u64> = record::scan_done(&done).collect();
            let (found, broken) = record::scan(&bytes);
            damaged += broken;
            let left = found.into_iter().filter(|record| !done.contains(&record.number));
            let before = records.len();
            records.extend(left.map(|record| {
                let (at, length) = (record.at as u64, record.body.len());
                (Spot { segment: name, number: record.number, at, length }, read(record.body))
            }));
            let live = records.len() - before;
            segments.insert(name, Segment { bytes: bytes.len() as u64, live, ..Segment::default() });
        }
        let mut store = Self::of(path, lock, how);
        let done: Vec<u64> = segments.iter().filter(|(_, it)| it.live == 0).map(|(name, _)| *name).collect();
        store.segments = segments;
        done.into_iter().for_each(|name| store.remove(name));
        Ok(Some(Left { store, records, damaged }))
    }

    fn of(path: &Path, lock: File, how: Writing) -> Self {
        let path = path.to_owned();
        Self { path, _lock: lock, how, segments: BTreeMap::new(), current: None, open: None, next: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.values().all(|segment| segment.live == 0)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Writes a record. After an error the store is as it was.
    pub(super) fn append(&mut self, body: &[&[u8]]) -> io::Result<Spot> {
        let number = self.next;
        let bytes = record::encode(number, body).ok_or(io::ErrorKind::FileTooLarge)?;
        let is_open = |segment: &Segment| segment.bytes < self.how.segment;
        let current = self.current.as_ref().filter(|(name, _)| self.segments.get(name).is_some_and(is_open));
        if current.is_none() {
            let path = segment_path(&self.path, number);
            let file = private().create_new(true).read(true).append(true).open(path)?;
            self.current = Some((number, file));
            self.segments.insert(number, Segment::default());
        }
        self.next += 1;
        let written = self.write(&bytes);
        if written.is_err() {
            self.close_current();
        }
        let (segment, at) = written?;
        Ok(Spot { segment, number, at, length: bytes.len() - HEAD })
    }

    /// What follows begins a segment of its own, behind nothing that stands there by halves.
    fn close_current(&mut self) {
        if let Some((name, _)) = self.current.take()
            && self.segments.get(&name).is_some_and(|segment| segment.live == 0)
        {
            self.remove(name);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<(u64, u64)> {
        let (name, file) = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let segment = self.segments.entry(*name).or_default();
        let at = segment.bytes;
        let written =
            file.write_all(bytes).and_then(|()| if self.how.sync { file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            let _ = file.set_len(at);
            return Err(error);
        }
        segment.bytes += bytes.len() as u64;
        segment.live += 1;
        Ok((*name, at))
    }

    /// The body of a record; `None` if it is not there any more as it was written.
    pub(super) fn read(&mut self, spot: Spot) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = match self.bytes_at(spot) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                return Ok(None);
            }
            bytes => bytes?,
        };
        let (found, _) = record::scan(&bytes);
        let is_there = found.first().is_some_and(|found| found.number == spot.number && found.at == 0);
        Ok(is_there.then(|| bytes.split_off(HEAD)))
    }

    fn bytes_at(&mut self, spot: Spot) -> io::Result<Vec<u8>> {
        let is_this = |(name, _): &&mut (u64, File)| *name == spot.segment;
        let mut bytes = vec![0; HEAD + spot.length];
        // What is appended goes to the end wherever it was read before.
        let mut read = |file: &mut File| {
            file.seek(SeekFrom::Start(spot.at))?;
            file.read_exact(&mut bytes)
        };
        if let Some((_, file)) = self.current.as_mut().filter(is_this) {
            read(file)?;
        } else if let Some((_, file)) = self.open.as_mut().filter(is_this) {
            read(file)?;
        } else {
            let mut file = File::open(segment_path(&self.path, spot.segment))?;
            read(&mut file)?;
            self.open = Some((spot.segment, file));
        }
        Ok(bytes)
    }

    /// Notes that a record need not be sent any more.
    pub(super) fn done(&mut self, spot: Spot) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(&spot.segment) else {
            return Ok(());
        };
        segment.live = segment.live.saturating_sub(1);
        let is_current = self.current.as_ref().is_some_and(|(name, _)| *name == spot.segment);
        // The one that is written goes too, but not for each record of a process that has little to tell.
        if segment.live == 0 && (!is_current || segment.bytes >= self.how.segment / 8) {
            self.remove(spot.segment);
            return Ok(());
        }
        segment.done_unwritten.extend(record::encode_done(spot.number));
        segment.write_done(&done_path(&self.path, spot.segment))
    }

    fn remove(&mut self, segment: u64) {
        self.segments.remove(&segment);
        self.current.take_if(|(name, _)| *name == segment);
        self.open.take_if(|(name, _)| *name == segment);
        // In this order: what is done would be sent again if its list went first.
        let _ = fs::remove_file(segment_path(&self.path, segment));
        let _ = fs::remove_file(done_path(&self.path, segment));
    }
}

impl Segment {
    /// After an error what could not be written is tried again with what follows.
    fn write_done(&mut self, path: &Path) -> io::Result<()> {
        let mut file = match self.done.take() {
            Some(file) => file,
            None => {
                let file = private().create(true).append(true).open(path)?;
                // Behind half an entry none could be read.
                let length = file.metadata()?.len();
                if let over @ 1.. = length % record::DONE as u64 {
                    file.set_len(length - over)?;
                }
                file
            }
        };
        file.write_all(&self.done_unwritten)?;
        self.done_unwritten.clear();
        self.done = Some(file);
        Ok(())
    }
}

fn segment_path(store: &Path, name: u64) -> PathBuf {
    store.join(format!("{name:016x}.seg"))
}

fn done_path(store: &Path, name: u64) -> PathBuf {
    store.join(format!("{name:016x}.done"))
}

/// Nothing is left behind of one that is empty.
impl Drop for Store {
    fn drop(&mut self) {
        if self.is_empty() {
            let names: Vec<u64> = self.segments.keys().copied().collect();
            names.into_iter().for_each(|name| self.remove(name));
            let _ = fs::remove_file(self.path.join("lock"));
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn segment_of(path: &Path) -> Option<u64> {
    let is_segment = path.extension().is_some_and(|extension| extension == "seg");
    is_segment.then(|| u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()).flatten()
}

/// Files for nobody else.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A directory for nobody else, in one that may have to be made.
fn private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if let Some(parent) = path.parent() {
        builder.recursive(true).create(parent)?;
    }
    builder.recursive(false).create(path)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A disk without room leaves no segment behind for each item that did not fit.
    #[test]
    fn what_could_not_be_written_leaves_nothing() {
        let path = std::env::temp_dir().join(format!("pandaprobe-store-{}", uuid::Uuid::new_v4()));
        let mut store = Store::create(&path, Writing { segment: 1 << 20, sync: false }).unwrap();
        let kept = store.append(&[b"one"]).unwrap();
        for _ in 0..3 {
            store.current.as_mut().unwrap().1 = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let error = store.append(&[b"another"]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(store.segments.values().all(|segment| segment.live > 0), "no segment without records");
            // With room again it goes on.
            let spot = store.append(&[b"more"]).unwrap();
            assert_eq!(store.read(spot).unwrap().unwrap(), b"more");
            store.done(spot).unwrap();
        }
        assert_eq!(store.read(kept).unwrap().unwrap(), b"one");
        store.done(kept).unwrap();
        assert!(store.is_empty());
        drop(store);
        assert!(!path.exists());
    }
}
