//! How a client is configured: in code, from `PANDAPROBE_*`, or both. Code beats environment.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    capture::{BeforeSend, Redact, Sampling},
    export::Exporter,
    model::TraceData,
    pipeline::Stamps,
    report::Report,
};

mod env;

/// Where traces go unless told otherwise (`PANDAPROBE_ENDPOINT`).
pub const DEFAULT_ENDPOINT: &str = "https://api.pandaprobe.com";
/// How many finished items may wait for delivery (`PANDAPROBE_MAX_QUEUE_SIZE`). Bytes are the real bound:
/// [`DEFAULT_MAX_BUFFERED_BYTES`].
pub const DEFAULT_MAX_QUEUE_SIZE: usize = 100_000;
/// How many bytes may be held between recording and delivery: 64 MiB.
pub const DEFAULT_MAX_BUFFERED_BYTES: usize = 64 << 20;
/// How many items the sender takes from the queue at a time (`PANDAPROBE_BATCH_SIZE`).
pub const DEFAULT_BATCH_SIZE: usize = 10;
/// How long an idle sender sleeps at most before it looks at the queue again
/// (`PANDAPROBE_FLUSH_INTERVAL`, in seconds). A finished trace wakes it at once.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// How long a trace whose root has ended waits for spans that are still open, after its last event.
pub const DEFAULT_LINGER: Duration = Duration::from_secs(30);
/// How long a call to a model that asks for tools is held for the call that brings their results: see
/// [`Config::tool_loop_patience`].
pub const DEFAULT_TOOL_LOOP_PATIENCE: Duration = Duration::from_secs(60);
/// The age at which a trace that never ended is sent with what it has.
pub const DEFAULT_MAX_TRACE_AGE: Duration = Duration::from_secs(3600);
/// How long a dropped [`ClientGuard`](crate::ClientGuard) waits for delivery.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How many requests are under way at once. The backend takes hardly more with more of them.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 4;
/// How long one request may take to connect.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take in all.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long delivery of one item is tried before it is given up and counted.
pub const DEFAULT_RETRY_DEADLINE: Duration = Duration::from_secs(300);
/// The longest text in an input, output or metadata value: 4 MiB. Longer ones are cut, visibly.
pub const DEFAULT_MAX_TEXT_BYTES: usize = 4 << 20;
/// The most bytes in one request.
pub const DEFAULT_MAX_PAYLOAD_BYTES: usize = 32 << 20;

/// How long the backend's rate limit holds once it is reached.
pub const DEFAULT_RATE_LIMIT_WINDOW: Duration = Duration::from_secs(60);
/// How often delivery is tried while the backend refuses the key or the quota is used up.
pub const DEFAULT_PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// How many bytes the spool of a process may take: 512 MiB.
pub const DEFAULT_MAX_SPOOL_BYTES: u64 = 512 << 20;

/// What gives way when [`max_buffered_bytes`](Config::max_buffered_bytes) or [`max_queue_size`](Config::max_queue_size) is
/// reached. Whatever is dropped is counted, and so is what depends on it: later spans, changes and scores of a trace. When
/// [`max_spool_bytes`](Config::max_spool_bytes) is reached, the oldest items on disk go in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest finished items go. One that is larger than an eighth of `max_buffered_bytes` takes the place of such
    /// large ones alone, so that it does not cost thousands of small ones.
    #[default]
    DropOldest,
    /// What is new goes.
    DropNewest,
    /// Whoever records waits until there is room, this long at most, and only then is the new dropped.
    ///
    /// **This blocks the thread that records**, also one that runs asynchronous code. It is for programs to which each trace
    /// is worth more than their own time, such as evaluations. What is finished already is never dropped for want of memory:
    /// it may exceed `max_buffered_bytes` once, and `max_queue_size` does not count.
    Block(Duration),
}

pub(crate) type OnError = Arc<dyn Fn(&Report) + Send + Sync>;

/// The configuration of a [`Client`](crate::Client).
///
/// | method | environment variable | default |
/// |---|---|---|
/// | [`api_key`](Self::api_key) | `PANDAPROBE_API_KEY` | none |
/// | [`project_name`](Self::project_name) | `PANDAPROBE_PROJECT_NAME` | none |
/// | [`endpoint`](Self::endpoint) | `PANDAPROBE_ENDPOINT` | [`DEFAULT_ENDPOINT`] |
/// | [`environment`](Self::environment) | `PANDAPROBE_ENVIRONMENT` | none |
/// | [`release`](Self::release) | `PANDAPROBE_RELEASE` | none |
/// | [`enabled`](Self::enabled) | `PANDAPROBE_ENABLED` | `true` |
/// | [`batch_size`](Self::batch_size) | `PANDAPROBE_BATCH_SIZE` | [`DEFAULT_BATCH_SIZE`] |
/// | [`flush_interval`](Self::flush_interval) | `PANDAPROBE_FLUSH_INTERVAL` | [`DEFAULT_FLUSH_INTERVAL`] |
/// | [`max_queue_size`](Self::max_queue_size) | `PANDAPROBE_MAX_QUEUE_SIZE` | [`DEFAULT_MAX_QUEUE_SIZE`] |
/// | [`debug`](Self::debug) | `PANDAPROBE_DEBUG` | `false` |
///
/// ```
/// use pandaprobe_core::{Client, Config, MemoryExporter};
///
/// let client = Client::new(Config::new().exporter(MemoryExporter::default()).environment("test"))?;
/// # Ok::<_, pandaprobe_core::ConfigError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use = "a configuration does nothing until a client is made of it"]
pub struct Config {
    pub(crate) api_key: Option<Secret>,
    pub(crate) project_name: Option<String>,
    pub(crate) endpoint: Endpoint,
    pub(crate) environment: Option<String>,
    pub(crate) release: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) batch_size: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) max_queue_size: usize,
    pub(crate) max_buffered_bytes: usize,
    pub(crate) overflow: Overflow,
    pub(crate) max_in_flight: usize,
    pub(crate) spool: Option<PathBuf>,
    pub(crate) max_spool_bytes: u64,
    pub(crate) spool_sync: bool,
    pub(crate) debug: bool,
    pub(crate) linger: Duration,
    pub(crate) tool_loop_patience: Duration,
    pub(crate) max_trace_age: Duration,
    pub(crate) live: bool,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_deadline: Duration,
    pub(crate) rate_limit_window: Duration,
    pub(crate) probe_interval: Duration,
    pub(crate) max_text_bytes: usize,
    pub(crate) max_payload_bytes: usize,
    pub(crate) sampling: Sampling,
    pub(crate) before_send: Option<BeforeSend>,
    pub(crate) capture_content: bool,
    pub(crate) redact: Option<Arc<dyn Redact>>,
    pub(crate) stamps: Stamps,
    pub(crate) exporter: Option<Arc<dyn Exporter>>,
    pub(crate) on_error: Option<OnError>,
    /// A missing key disables instead of being an error.
    pub(crate) from_environment: bool,
}

impl Config {
    /// The defaults, without a look at the environment.
    pub fn new() -> Self {
        Self {
            api_key: None,
            project_name: None,
            endpoint: Endpoint(DEFAULT_ENDPOINT.to_owned()),
            environment: None,
            release: None,
            enabled: true,
            batch_size: DEFAULT_BATCH_SIZE,
            flush_interval: DEFAULT_FLUSH_INTERVAL,
            max_queue_size: DEFAULT_MAX_QUEUE_SIZE,
            max_buffered_bytes: DEFAULT_MAX_BUFFERED_BYTES,
            overflow: Overflow::default(),
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            spool: None,
            max_spool_bytes: DEFAULT_MAX_SPOOL_BYTES,
            spool_sync: false,
            debug: false,
            linger: DEFAULT_LINGER,
            tool_loop_patience: DEFAULT_TOOL_LOOP_PATIENCE,
            max_trace_age: DEFAULT_MAX_TRACE_AGE,
            live: false,
            shutdown_timeout: DEFAULT_SHUTDOWN_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            retry_deadline: DEFAULT_RETRY_DEADLINE,
            rate_limit_window: DEFAULT_RATE_LIMIT_WINDOW,
            probe_interval: DEFAULT_PROBE_INTERVAL,
            max_text_bytes: DEFAULT_MAX_TEXT_BYTES,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            sampling: Sampling::default(),
            before_send: None,
            capture_content: true,
            redact: None,
            stamps: Stamps::default(),
            exporter: None,
            on_error: None,
            from_environment: false,
        }
    }

    /// The defaults, overlaid by `PANDAPROBE_*`. Empty variables count as absent. A number that cannot be
    /// read is warned about and replaced by its default; a missing key or project name gives a client that
    /// is switched off.
    ///
    /// # Errors
    ///
    /// When `PANDAPROBE_ENDPOINT`, `PANDAPROBE_PROJECT_NAME` or `PANDAPROBE_API_KEY` holds what can never work.
    pub fn from_env() -> Result<Self, ConfigError> {
        env::read(|name| std::env::var(name).ok())
    }

    /// [`from_env`](Self::from_env), but without `PANDAPROBE_API_KEY` traces go to `fallback`.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env), and when there is a key but no project name: whoever sets a key wants
    /// traces delivered.
    pub fn from_env_or(fallback: impl Exporter) -> Result<Self, ConfigError> {
        let config = Self::from_env()?;
        match (&config.api_key, &config.project_name) {
            (Some(_), Some(_)) => Ok(config),
            (Some(_), None) => Err(ConfigError::MissingProjectName),
            (None, _) => Ok(config.exporter(fallback)),
        }
    }

    /// The key that traces are delivered with.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(Secret(key.into())).filter(|key| !key.0.is_empty());
        self
    }

    /// The project that traces belong to. The backend makes it if it does not exist.
    pub fn project_name(mut self, name: impl Into<String>) -> Self {
        self.project_name = Some(name.into()).filter(|name: &String| !name.is_empty());
        self
    }

    /// Where the backend is.
    ///
    /// # Errors
    ///
    /// When `endpoint` is not an `http` or `https` URL.
    pub fn endpoint(mut self, endpoint: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.endpoint = Endpoint::parse("endpoint", endpoint.as_ref())?;
        Ok(self)
    }

    /// The environment that each trace is marked with, such as `production`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into()).filter(|text: &String| !text.is_empty());
        self
    }

    /// The release that each trace is marked with.
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.release = Some(release.into()).filter(|text: &String| !text.is_empty());
        self
    }

    /// Whether anything is recorded. A client that is switched off starts no thread and allocates nothing.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// How many items the sender takes from the queue at a time. Zero counts as one.
    pub fn batch_size(mut self, items: usize) -> Self {
        self.batch_size = items.max(1);
        self
    }

    /// How long an idle sender sleeps at most.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How many finished items may wait for delivery. When more do, the oldest is dropped and counted, unless
    /// [`overflow`](Self::overflow) says otherwise.
    pub fn max_queue_size(mut self, items: usize) -> Self {
        self.max_queue_size = items.max(1);
        self
    }

    /// How many bytes may be held between recording and delivery: intake, open traces and queue together.
    /// When more would be, the oldest item of the queue is dropped and counted, unless [`overflow`](Self::overflow) says
    /// otherwise.
    pub fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.max_buffered_bytes = bytes;
        self
    }

    /// Keeps what is finished and not yet delivered on disk, in this directory, which is made if it does not exist. There is no
    /// spool unless set.
    ///
    /// What is there survives the process, however it ends: the next client that uses the directory, for the same endpoint and project,
    /// delivers it, with its own key; one that is there already does so within half a minute. It takes hardly any memory and has no
    /// `retry_deadline` while the backend is away. Several processes may share the directory, but those of two organizations
    /// must not: what the key is for is not written, so that a new key can take the place of one that leaked. Clients with an
    /// [`exporter`](Self::exporter) of their own are one target. Files are readable by their owner alone; they hold what is sent, so after
    /// redaction, and never the key.
    ///
    /// ```
    /// use pandaprobe_core::Config;
    ///
    /// let config = Config::new().spool("/var/lib/my-service/pandaprobe").max_spool_bytes(64 << 20);
    /// ```
    pub fn spool(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spool = Some(directory.into());
        self
    }

    /// How many bytes the spool may take, in files of some 8 MiB, what was taken over from other processes included. The oldest items
    /// are dropped and counted when there are more. An item counts as 4 KiB at least, since what is on disk takes some 300 bytes of memory
    /// too, which are not of [`max_buffered_bytes`](Self::max_buffered_bytes).
    pub fn max_spool_bytes(mut self, bytes: u64) -> Self {
        self.max_spool_bytes = bytes;
        self
    }

    /// Whether each item is synced to the disk, so that it survives the death of the machine too. It takes some milliseconds
    /// each, on a thread of the client. Not unless set.
    pub fn spool_sync(mut self, sync: bool) -> Self {
        self.spool_sync = sync;
        self
    }

    /// What gives way when there is no more room. The oldest finished items unless set.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Whether everything that is reported to `on_error` is also written to standard error, at once and each
    /// time. Meant for finding out why nothing arrives.
    pub fn debug(mut self, debug: bool) -> Self {
        self.debug = debug;
        self
    }

    /// How long a trace whose root has ended waits for spans that are still open, after its last event.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long a call to a model that asks for tools, outside of any trace, is held for the call that brings their
    /// results; at most ten times as long while a call is under way that may be the one. Calls of a tool loop that an
    /// application writes by hand then come out as one trace, with the tools between them; see `OpenAiHandler`. What is held
    /// is sent at once by a flush, by a shutdown, and when half of [`max_buffered_bytes`](Self::max_buffered_bytes) is
    /// taken. Zero: each call is a trace of its own, as it is with [`live`](Self::live).
    pub fn tool_loop_patience(mut self, patience: Duration) -> Self {
        self.tool_loop_patience = patience;
        self
    }

    /// The age at which a trace that never ended is sent with what it has, and counted.
    pub fn max_trace_age(mut self, age: Duration) -> Self {
        self.max_trace_age = age;
        self
    }

    /// Whether a trace is shown while it runs: it is posted as `RUNNING`, its spans follow as they end, one
    /// `PATCH` completes it. Off unless switched on.
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// How long a dropped guard waits for delivery.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// How long one request may take to connect.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one request may take in all.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long delivery of one item is tried before it is given up and counted.
    pub fn retry_deadline(mut self, deadline: Duration) -> Self {
        self.retry_deadline = deadline;
        self
    }

    /// How many items are under way to the backend at once; of one trace no more than one.
    pub fn max_in_flight(mut self, items: usize) -> Self {
        self.max_in_flight = items.max(1);
        self
    }

    /// How long the backend's rate limit holds once it is reached. Its answer does not say, so when it comes, nothing is sent
    /// until the window that began with the first item delivered in it is over. A day at most, of which an hour is waited at once.
    pub fn rate_limit_window(mut self, window: Duration) -> Self {
        self.rate_limit_window = window;
        self
    }

    /// How often delivery is tried while the backend refuses the key (401, 403), or the quota is used up (429 with a
    /// `detail`). Everything waits meanwhile, within its bounds, and a flush does not.
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.probe_interval = interval;
        self
    }

    /// The longest text in an input, output or metadata value, in bytes. Longer ones are cut, with a mark
    /// that says how long they were.
    pub fn max_text_bytes(mut self, bytes: usize) -> Self {
        self.max_text_bytes = bytes;
        self
    }

    /// The most bytes in one request. Spans that do not fit beside their trace follow in requests of their own; where that
    /// is not enough, texts are cut shorter than [`max_text_bytes`](Self::max_text_bytes), with the same mark.
    pub fn max_payload_bytes(mut self, bytes: usize) -> Self {
        self.max_payload_bytes = bytes;
        self
    }

    /// Which share of the traces is sent. All of them unless set.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Called with each trace before it is sent, with all of its spans; sends what it gives back, if anything. What is
    /// withheld is counted, and so are later spans and scores of it. If it panics, the trace is withheld.
    ///
    /// It sees what was recorded: redaction comes after it. Of a trace that was sent before, [live](Self::live) or with
    /// spans open, it sees each further part: the trace with the spans that are new. A live trace whose end is withheld stays
    /// `RUNNING` at the backend. It runs on a thread of the client; what
    /// it records itself is recorded like all else, so it should record nothing. The trace keeps its id. An id of a user or
    /// session that it sets and that is none (empty, over 255 characters, with a NUL) is left out.
    ///
    /// ```
    /// use pandaprobe_core::Config;
    ///
    /// let config = Config::new().before_send(|mut trace| {
    ///     trace.metadata.remove("internal");
    ///     (trace.name != "health-check").then_some(trace)
    /// });
    /// ```
    pub fn before_send(
        mut self,
        hook: impl Fn(TraceData) -> Option<TraceData> + Send + Sync + 'static,
    ) -> Self {
        self.before_send = Some(Arc::new(hook));
        self
    }

    /// Whether content is sent: inputs, outputs, reasoning, the texts of errors, the reasons of scores, and parameters but for
    /// numbers, switches and words from lists such as `tool_choice`. Without it structure, names, ids, tags, metadata, models, tokens and times stay. It is sent unless switched off.
    pub fn capture_content(mut self, content: bool) -> Self {
        self.capture_content = content;
        self
    }

    /// Takes out of all that is sent what must not leave; ready rules are in `Redactor` (feature `redact`). User and session
    /// ids are left alone: two of them must never become the same.
    pub fn redact(mut self, redact: impl Redact) -> Self {
        self.redact = Some(Arc::new(redact));
        self
    }

    /// For tests: ids are counted instead of random, and the clock begins at 2026-01-01T00:00:00Z and is moved on by a
    /// millisecond each time it is read. What one task records is then the same each time, fit for snapshots.
    #[cfg(feature = "testing")]
    pub fn fixed_ids_and_clock(mut self) -> Self {
        self.stamps = Stamps::fixed();
        self
    }

    /// Where traces go instead of the PandaProbe backend.
    pub fn exporter(mut self, exporter: impl Exporter) -> Self {
        self.exporter = Some(Arc::new(exporter));
        self
    }

    /// Called with whatever is lost, refused or repaired. It is called on the thread that noticed, so it
    /// should be quick; a panic in it is caught.
    pub fn on_error(mut self, callback: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(callback));
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("api_key", &self.api_key)
            .field("project_name", &self.project_name)
            .field("endpoint", &self.endpoint.0)
            .field("environment", &self.environment)
            .field("release", &self.release)
            .field("enabled", &self.enabled)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

/// A configuration that can never work. It names the setting and its value, but never the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The endpoint is not an `http` or `https` URL.
    #[error("{setting} is not an http or https URL: {value:?}")]
    InvalidEndpoint {
        /// The method or environment variable that set it.
        setting: &'static str,
        /// What it was set to.
        value: String,
    },
    /// The backend would refuse the project name: 1 to 255 letters, digits, spaces and `_ . ' -`, the first
    /// and the last a letter or digit.
    #[error("{setting} is not a project name that PandaProbe takes: {value:?}")]
    InvalidProjectName {
        /// The method or environment variable that set it.
        setting: &'static str,
        /// What it was set to.
        value: String,
    },
    /// The API key holds characters that cannot be sent in a header. It is not shown.
    #[error("{setting} holds characters that cannot be sent in a header")]
    InvalidApiKey {
        /// The method or environment variable that set it.
        setting: &'static str,
    },
    /// There is no API key and no other exporter.
    #[error("no API key: set PANDAPROBE_API_KEY, call api_key(…), or choose another exporter(…)")]
    MissingApiKey,
    /// There is no project name.
    #[error("no project name: set PANDAPROBE_PROJECT_NAME or call project_name(…)")]
    MissingProjectName,
    /// The HTTP client could not be made, because of a proxy or TLS setting for instance.
    #[error("the HTTP client could not be made: {0}")]
    Http(String),
    /// The directory of the spool could not be made or written.
    #[error("the spool cannot be used: {0}")]
    Spool(String),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(String),
}

/// A key. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    fn checked(self, setting: &'static str) -> Result<Self, ConfigError> {
        let sendable = self.0.bytes().all(|b| (0x21..0x7f).contains(&b));
        if sendable { Ok(self) } else { Err(ConfigError::InvalidApiKey { setting }) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The URL of a backend, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    fn parse(setting: &'static str, value: &str) -> Result<Self, ConfigError> {
        let url = reqwest::Url::parse(value.trim()).ok();
        let usable = url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !usable {
            return Err(ConfigError::InvalidEndpoint { setting, value: value.to_owned() });
        }
        Ok(Self(value.trim().trim_end_matches('/').to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the HTTP exporter needs to reach the backend, checked.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) api_key: Secret,
    pub(crate) project_name: String,
}

impl Target {
    /// `None` when an environment without a key switches the client off.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, ConfigError> {
        let missing = match (&config.api_key, &config.project_name) {
            (Some(key), Some(name)) => {
                return Ok(Some(Self {
                    endpoint: config.endpoint.clone(),
                    api_key: key.clone().checked("api_key")?,
                    project_name: project_name("project_name", name)?,
                }));
            }
            (None, _) => ConfigError::MissingApiKey,
            (_, None) => ConfigError::MissingProjectName,
        };
        if config.from_environment { Ok(None) } else { Err(missing) }
    }
}

fn project_name(setting: &'static str, name: &str) -> Result<String, ConfigError> {
    let name = name.trim();
    let plain = |c: char| c.is_ascii_alphanumeric();
    let usable = (1..=255).contains(&name.len())
        && name.chars().all(|c| plain(c) || " _.'-".contains(c))
        && name.starts_with(plain)
        && name.ends_with(plain);
    if usable {
        Ok(name.to_owned())
    } else {
        Err(ConfigError::InvalidProjectName { setting, value: name.to_owned() })
    }
}
