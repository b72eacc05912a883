//! The store: one SQLite file.

mod analytics;
#[cfg(feature = "server")]
mod changes;
mod filter;
mod prune;
mod read;
mod schema;
mod scores;
mod sessions;
#[cfg(feature = "server")]
pub(crate) mod viewing;
mod words;
mod write;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

#[cfg(feature = "server")]
pub(crate) use analytics::Step;
pub use analytics::{Bucket, Granularity, ModelUse, NameUse, SessionBucket, TokenBucket};
#[cfg(feature = "server")]
pub(crate) use changes::Seen;
pub use filter::{Order, Page, SortBy, TraceFilter};
pub use prune::{Pruned, Retention};
pub use read::{SpanRow, StoredTrace, TraceRow};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
#[cfg(feature = "cli")]
pub(crate) use scores::import_score;
pub use scores::{Score, ScoreFilter, ScoreSummary};
pub use sessions::{SessionFilter, SessionRow, UserRow};
use tokio::sync::oneshot;
#[cfg(feature = "cli")]
pub(crate) use write::{patch_trace, post_spans, post_trace};

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// How many changes one transaction may hold.
const BATCH: usize = 512;

/// Why the store cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite says so.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The folder or the file cannot be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is a database of something else, and is left as it is.
    #[error("the file is another program's database")]
    Foreign,
    /// A newer version of this program made the store.
    #[error("the store is of version {version}, and this program knows {known} at most")]
    Newer {
        /// Its version.
        version: usize,
        /// The newest that is known here.
        known: usize,
    },
    /// What is stored is not what was stored.
    #[error("what is stored cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Traces, spans and scores in one file. Clones share it; other processes may have it open too.
///
/// What a method that writes has returned is in the file, and survives the end of the process.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Mutex<Option<mpsc::Sender<Change>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    readers: Mutex<Vec<(FileId, Connection)>>,
}

/// Which file it is that a path leads to.
type FileId = Option<(u64, u64)>;

/// Makes a change, or hears why none can be made, and gives what tells of it once it is in the file.
type Change = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Told + Send>;
type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl Store {
    /// Opens the store in that file. The file and its folder are made if they are not there, or are gone when something is
    /// written; an older store is brought up to date.
    ///
    /// # Errors
    ///
    /// If that cannot be done, the store is newer than this program, or the file is a database of another.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        // Whoever uses it may go to another folder.
        let path = std::path::absolute(path)?;
        let mut own = Writer::open(&path)?;
        let (writer, changes) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("pandaprobe-store".to_owned())
            .spawn(move || own.write_all(&changes))?;
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                writer: Mutex::new(Some(writer)),
                thread: Mutex::new(Some(thread)),
                readers: Mutex::default(),
            }),
        })
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Makes a change on the thread that writes. The future is done when the change is in the file.
    pub(crate) fn change<T, F>(&self, f: F) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let done = self.submit(f);
        async move { done.await.unwrap_or(Err(StoreError::Closed)) }
    }

    /// [`change`](Self::change), for programs without a runtime.
    #[cfg(feature = "cli")]
    pub(crate) fn change_blocking<T, F>(&self, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(f).blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    fn submit<T, F>(&self, f: F) -> oneshot::Receiver<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (tell, done) = oneshot::channel();
        let change: Change = Box::new(move |connection| {
            let made = connection.and_then(|connection| alone(connection, f));
            Box::new(move |committed| {
                let _ = tell.send(committed.and(made));
            })
        });
        if let Some(writer) = &*lock(&self.inner.writer) {
            let _ = writer.send(change);
        }
        done
    }

    /// Reads. What is written meanwhile is not seen.
    pub(crate) fn read<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let file = file_id(&self.inner.path);
        let reader = {
            let readers = &mut *lock(&self.inner.readers);
            readers.retain(|(of, _)| *of == file);
            readers.pop()
        };
        let mut reader = match reader {
            Some((_, reader)) => reader,
            None => {
                connect(&self.inner.path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?
            }
        };
        let transaction = reader.transaction()?;
        let read = f(&transaction)?;
        drop(transaction);
        let readers = &mut *lock(&self.inner.readers);
        if readers.len() < 8 {
            readers.push((file, reader));
        }
        Ok(read)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.writer).take();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    // What was committed survives the end of the process; of the machine, it may lose the last moments.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // How much of the log is kept for what comes next.
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    connection.pragma_update(None, "cache_size", -32_000)?;
    connection.pragma_update(None, "mmap_size", 256 << 20)?;
    Ok(connection)
}

/// A change that fails leaves nothing behind, and the others of its transaction alone.
fn alone<T>(
    connection: &Connection,
    f: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("SAVEPOINT change")?;
    let made = f(connection);
    let end = if made.is_ok() { "RELEASE change" } else { "ROLLBACK TO change; RELEASE change" };
    connection.execute_batch(end)?;
    made
}

/// What writes.
struct Writer {
    path: PathBuf,
    file: FileId,
    connection: Connection,
}

impl Writer {
    fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut connection = connect(path, OpenFlags::default())?;
        schema::bring_up_to_date(&mut connection)?;
        Ok(Self { path: path.to_owned(), file: file_id(path), connection })
    }

    /// Makes changes as they come, those that wait in one transaction.
    fn write_all(&mut self, changes: &mpsc::Receiver<Change>) {
        while let Ok(first) = changes.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = changes.try_recv()
            {
                batch.push(next);
            }
            self.write(batch);
        }
    }

    fn write(&mut self, batch: Vec<Change>) {
        let (told, committed): (Vec<Told>, _) = match self.begin() {
            Ok(transaction) => {
                let told = batch.into_iter().map(|change| change(Ok(&transaction))).collect();
                (told, transaction.commit().map_err(StoreError::from))
            }
            Err(error) => (batch.into_iter().map(|change| change(Err(error.again()))).collect(), Ok(())),
        };
        for tell in told {
            tell(committed.as_ref().copied().map_err(StoreError::again));
        }
    }

    /// Begins a transaction in the file that is at the path: the one that was opened may have been removed since.
    fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        if file_id(&self.path) != self.file {
            tracing::warn!("the store was removed while it was open, and is made anew");
            *self = Self::open(&self.path)?;
        }
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl StoreError {
    /// The same error, for each of those whom it concerns.
    fn again(&self) -> Self {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(code, text)) => {
                Self::Sqlite(rusqlite::Error::SqliteFailure(*code, text.clone()))
            }
            other => Self::Io(std::io::Error::other(other.to_string())),
        }
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> FileId {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Elsewhere a file that is open cannot be removed.
#[cfg(not(unix))]
fn file_id(_: &Path) -> FileId {
    None
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
