//! The backend is away while a service is busy: what it costs those who record.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    sync::Mutex,
    time::{Duration, Instant},
};

use pandaprobe::{Client, Config, DEFAULT_MAX_BUFFERED_BYTES, Stats};
use pandaprobe_tests::{
    Directory,
    backend::{Answer, Backend},
    free_port, url_at,
};

const TRACES: usize = 20_000;
const MIB: u64 = 1 << 20;

/// Each measures the process.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes of memory that this process has now; `None` where nobody says.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Records traces of 10 kB for some seconds. The 99th percentile of how long one takes, and the most memory there was.
fn produce(client: &Client) -> (Duration, u64) {
    let text = "x".repeat(10_000);
    let (mut took, mut most) = (Vec::with_capacity(TRACES), 0);
    for n in 0..TRACES {
        let begun = Instant::now();
        client.trace(format!("trace {n}")).user_id(format!("user {n}")).input(text.as_str()).run(|_| ());
        took.push(begun.elapsed());
        if n % 20 == 0 {
            most = most.max(resident().unwrap_or_default());
            std::thread::sleep(Duration::from_millis(4));
        }
    }
    took.sort_unstable();
    (took[TRACES * 99 / 100], most)
}

/// What producers left behind is counted in a moment, if this machine is slow.
fn all_counted(client: &Client) -> Stats {
    let begun = Instant::now();
    loop {
        let stats = client.stats();
        let counted = stats.delivered + stats.spooled + stats.dropped_total();
        if counted >= TRACES as u64 || begun.elapsed() > Duration::from_secs(30) {
            return stats;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn config(url: &str) -> Config {
    Config::new().api_key("k").project_name("tests").endpoint(url).unwrap()
}

/// Where nobody listens.
fn nowhere() -> String {
    url_at(free_port())
}

#[test]
fn producers_do_not_feel_an_outage() {
    let _alone = ALONE.lock();
    let url = nowhere();

    let client = Client::new(config(&url)).unwrap();
    let before = resident().unwrap_or_default();
    let (down, most) = produce(&client);
    assert!(client.stats().buffered_bytes <= DEFAULT_MAX_BUFFERED_BYTES as u64);
    let grown = most.saturating_sub(before);
    client.shutdown(Duration::from_millis(200)).unwrap_err();
    let stats = all_counted(&client);
    assert_eq!((stats.delivered, stats.dropped_total()), (0, TRACES as u64), "{stats:?}");
    drop(client);

    let dir = Directory::new();
    let client = Client::new(config(&url).spool(dir.path())).unwrap();
    let (spooled, _) = produce(&client);
    client.shutdown(Duration::from_secs(2)).unwrap_err();
    let stats = all_counted(&client);
    let lost = stats.dropped_total();
    assert_eq!(stats.spooled + stats.dropped_total(), TRACES as u64, "{stats:?}");
    drop(client);

    // What it takes is not kept: it is the client's memory and time that are measured.
    let backend = Backend::start();
    backend.script_with(|_, _| Answer::status(202));
    let client = Client::new(config(&backend.url())).unwrap();
    let (up, _) = produce(&client);
    client.shutdown(Duration::from_secs(60)).unwrap();
    assert_eq!(client.stats().delivered + client.stats().dropped_total(), TRACES as u64);

    println!(
        "{TRACES} traces of 10 kB: {} MiB more at most while the backend is down; p99 of recording one: up {up:?}, down {down:?}, with a spool {spooled:?}; {lost} dropped with a spool",
        grown / MIB
    );
    // What is counted are the bytes of what is recorded. The rest is what holds it, which is more where objects keep the order
    // of their keys, as `rig` asks of `serde_json`, and what the allocator keeps.
    assert!(grown < DEFAULT_MAX_BUFFERED_BYTES as u64 + 48 * MIB, "{} MiB", grown / MIB);
    // Loosely, for these machines are noisy and others run beside it.
    assert!(down < up * 3 + Duration::from_micros(200), "up {up:?}, down {down:?}");
    assert!(spooled < up * 3 + Duration::from_micros(200), "up {up:?}, with a spool {spooled:?}");
}

/// Of what others left only what is under way is in memory.
#[test]
fn what_is_taken_over_stays_on_disk() {
    const LEFT: u64 = 100;
    let _alone = ALONE.lock();
    let (dir, url) = (Directory::new(), nowhere());
    let spooled = |client: &Client, items: u64| {
        let begun = Instant::now();
        while client.stats().spooled < items {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", client.stats());
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let client = Client::new(config(&url).spool(dir.path())).unwrap();
    let text = "x".repeat(900_000);
    for n in 0..LEFT {
        let trace = client.trace(format!("trace {n}")).user_id(format!("user {n}"));
        trace.input(text.as_str()).run(|trace| trace.set_output(text.as_str()));
        spooled(&client, n + 1);
    }
    drop(client);
    let before = resident().unwrap_or_default();
    let client = Client::new(config(&url).spool(dir.path())).unwrap();
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(1) || client.stats().spooled < LEFT {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", client.stats());
        most = most.max(resident().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(1));
    }
    let grown = most.saturating_sub(before) / MIB;
    println!("{grown} MiB more to take over {LEFT} traces of 1.8 MB");
    assert!(grown < 40, "{grown} MiB");
}
