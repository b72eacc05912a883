//! What is finished survives the death of the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod spooled;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use pandaprobe::{Client, Config, DropReason, Overflow, ReportKind};
use pandaprobe_tests::{Directory, backend::Backend, free_port, url_at};
use spooled::config;

const SOON: Duration = Duration::from_secs(30);

fn record(client: &Client, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let id = client.trace(format!("trace {n}")).user_id(format!("user {n}")).run(|trace| trace.id());
        client.score(id, "quality", true);
    }
}

fn names(backend: &Backend) -> BTreeSet<String> {
    let traces = backend.traces();
    for trace in &traces {
        assert_eq!(trace["name"].as_str().unwrap().replace("trace", "user"), trace["user_id"]);
    }
    let names: BTreeSet<String> =
        traces.iter().map(|trace| trace["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), traces.len(), "one came under two ids");
    names
}

fn spooled(client: &Client, items: u64) {
    let begun = Instant::now();
    while client.stats().spooled < items {
        assert!(begun.elapsed() < SOON, "{:?}", client.stats());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Has a client deliver what others left, and gives what it counted.
fn delivered_by_the_next(dir: &Directory, backend: &Backend, traces: usize) -> pandaprobe::Stats {
    let client = Client::new(config(dir, &backend.url())).unwrap();
    backend.wait_for(traces, SOON);
    client.flush(SOON).unwrap();
    client.stats()
}

#[test]
fn the_next_process_delivers_what_one_left() {
    let (dir, port) = (Directory::new(), free_port());
    let client = Client::new(config(&dir, &url_at(port))).unwrap();
    record(&client, 0..200);
    spooled(&client, 400);
    let left = client.shutdown(Duration::from_millis(100)).unwrap_err();
    assert_eq!((left.left, left.spooled, client.stats().dropped_total()), (400, 400, 0));
    drop(client);
    let written: Vec<u8> = dir.segments().iter().flat_map(|path| fs::read(path).unwrap()).collect();
    let written = String::from_utf8_lossy(&written);
    assert!(written.contains("trace 7") && !written.contains("sk_pp_secret"));
    #[cfg(unix)]
    for file in dir.files() {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }

    // One for another project leaves it alone.
    let elsewhere = Backend::start();
    let other = Client::new(config(&dir, &elsewhere.url()).project_name("others")).unwrap();
    record(&other, 900..901);
    other.flush(SOON).unwrap();
    drop(other);

    let backend = Backend::start_at(port);
    let stats = delivered_by_the_next(&dir, &backend, 200);
    assert_eq!((names(&backend).len(), backend.scores().len(), stats.delivered), (200, 200, 400));
    assert_eq!((stats.spooled, stats.dropped_total()), (0, 0));
    assert_eq!(
        (elsewhere.traces().len(), fs::read_dir(dir.path()).unwrap().count()),
        (1, 0),
        "{:?}",
        dir.files()
    );
}

#[test]
fn an_outage_longer_than_the_deadline_costs_nothing() {
    let (dir, port) = (Directory::new(), free_port());
    let config =
        config(&dir, &url_at(port)).retry_deadline(Duration::from_millis(50)).max_buffered_bytes(3_000_000);
    let client = Client::new(config.max_queue_size(10)).unwrap();
    for n in 0..1_000 {
        client.trace(format!("trace {n}")).user_id(format!("user {n}")).input("x".repeat(5_000)).run(|_| ());
        if n % 50 == 0 {
            assert!(client.flush(Duration::from_millis(10)).is_err());
        }
    }
    spooled(&client, 1_000);
    std::thread::sleep(Duration::from_millis(500));
    // Five megabytes are on disk, and next to nothing in memory.
    assert!(client.stats().buffered_bytes < 300_000, "{:?}", client.stats());
    let backend = Backend::start_at(port);
    client.flush(SOON).unwrap();
    assert_eq!(
        (names(&backend).len(), client.stats().dropped_total(), client.stats().spooled),
        (1_000, 0, 0)
    );
    assert!(dir.segments().len() <= 1, "{:?}", dir.files());
}

#[test]
fn the_oldest_go_when_the_spool_is_full() {
    let (dir, port) = (Directory::new(), free_port());
    let client = Client::new(config(&dir, &url_at(port)).max_spool_bytes(30 << 20)).unwrap();
    let text = "x".repeat(1 << 20);
    for n in 0..60 {
        client.trace(format!("trace {n}")).user_id(format!("user {n}")).input(text.as_str()).run(|_| ());
        assert!(client.flush(Duration::from_millis(1)).is_err());
    }
    let begun = Instant::now();
    while client.stats().dropped_total() + client.stats().spooled < 60 && begun.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(5));
    }
    let bytes: u64 = dir.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < 40 << 20, "{bytes} bytes are on disk");
    let dropped = client.stats().dropped[&DropReason::SpoolFull];
    let backend = Backend::start_at(port);
    client.flush(SOON).unwrap();
    let names = names(&backend);
    assert!(names.contains("trace 59") && !names.contains("trace 5") && names.len() > 15, "{names:?}");
    assert_eq!((names.len() as u64 + dropped, client.stats().dropped_total()), (60, dropped));
}

#[test]
fn small_items_count_as_four_kib() {
    let (dir, port) = (Directory::new(), free_port());
    let client = Client::new(config(&dir, &url_at(port)).max_spool_bytes(1 << 20)).unwrap();
    // Two items each.
    record(&client, 0..200);
    assert!(client.flush(Duration::from_millis(1)).is_err());
    let begun = Instant::now();
    while client.stats().dropped_total() + client.stats().spooled < 400 && begun.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stats = client.stats();
    assert!(stats.spooled <= 256 && stats.spooled > 240, "{stats:?}");
    assert_eq!(stats.dropped[&DropReason::SpoolFull] + stats.spooled, 400, "{stats:?}");
    let backend = Backend::start_at(port);
    client.flush(SOON).unwrap();
    let names = names(&backend);
    assert!(names.contains("trace 199") && !names.contains("trace 0") && names.len() >= 120, "{names:?}");
}

#[test]
fn damage_costs_what_is_damaged() {
    let (dir, port) = (Directory::new(), free_port());
    let client = Client::new(config(&dir, &url_at(port))).unwrap();
    for n in 0..100 {
        client.trace(format!("trace {n}")).user_id(format!("user {n}")).run(|_| ());
    }
    spooled(&client, 100);
    drop(client);
    let segment = dir.segments().remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    bytes.truncate(bytes.len() - 10);
    fs::write(&segment, bytes).unwrap();
    // What was never a spool is no concern of it.
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    let backend = Backend::start_at(port);
    let stats = delivered_by_the_next(&dir, &backend, 98);
    assert_eq!((names(&backend).len(), stats.dropped[&DropReason::SpoolDamaged]), (98, 2));
    assert_eq!(stats.dropped_total(), 2);
    assert!(dir.path().join("notes.txt").exists());
}

#[test]
fn without_a_disk_it_goes_on_in_memory() {
    let (dir, port) = (Directory::new(), free_port());
    let client = Client::new(config(&dir, &url_at(port))).unwrap();
    record(&client, 0..5);
    spooled(&client, 10);
    fs::remove_dir_all(dir.path()).unwrap();
    let large = "x".repeat(4 << 20);
    for n in 5..8 {
        let trace = client.trace(format!("trace {n}")).user_id(format!("user {n}"));
        trace.input(large.as_str()).run(|_| ());
    }
    record(&client, 8..10);
    let backend = Backend::start_at(port);
    client.flush(SOON).unwrap();
    assert_eq!((names(&backend).len(), client.stats().dropped_total()), (10, 0), "{:?}", client.stats());
    assert!(client.stats().reports[&ReportKind::SpoolFailed] > 0);
    // Where no directory can be, there is no client.
    let taken = Directory::new();
    fs::write(taken.path(), "a file").unwrap();
    assert!(Client::new(config(&taken, &url_at(port))).unwrap_err().to_string().contains("spool"));
    fs::remove_file(taken.path()).unwrap();
}

const CHILD: &str = "PANDAPROBE_TEST_SPOOL_CHILD";

/// Records at full speed until it is killed, and tells each millisecond how many traces have ended and how many are on disk.
fn child(arguments: &str) -> ! {
    let (url, dir) = arguments.split_once(' ').unwrap();
    let config = Config::new().api_key("k").project_name("tests").endpoint(url).unwrap().spool(dir);
    // Nothing is dropped, and nothing waits long for the disk.
    let config = config.overflow(Overflow::Block(SOON)).max_buffered_bytes(512 << 10);
    let client = Client::new(config).unwrap();
    let begun = Instant::now();
    let mut told = Duration::ZERO;
    for n in 0_usize.. {
        client.trace(format!("trace {n}")).user_id(format!("user {n}")).input("x".repeat(500)).run(|_| ());
        if begun.elapsed() - told >= Duration::from_millis(1) {
            told = begun.elapsed();
            let mut out = std::io::stdout().lock();
            writeln!(out, "told {} {} {}", told.as_micros(), n + 1, client.stats().spooled).unwrap();
        }
    }
    unreachable!("there are traces without end")
}

#[test]
fn what_was_confirmed_survives_a_kill() {
    if let Ok(arguments) = std::env::var(CHILD) {
        child(&arguments);
    }
    let kills = 50;
    let (mut least, mut ended_in_all) = (1.0_f64, 0);
    for kill in 0..kills {
        let (dir, port) = (Directory::new(), free_port());
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "what_was_confirmed_survives_a_kill", "--nocapture"]);
        child.env(CHILD, format!("{} {}", url_at(port), dir.path().display())).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let told = |line: String| -> Option<[u64; 3]> {
                let (_, told) = line.split_once("told ")?;
                let numbers: Vec<u64> = told.split(' ').map_while(|number| number.parse().ok()).collect();
                numbers.try_into().ok()
            };
            lines.map_while(Result::ok).filter_map(told).collect::<Vec<_>>()
        });
        // Random moments, but after a thousand traces.
        std::thread::sleep(Duration::from_millis(300 + (kill * 7_919) % 300));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = reader.join().unwrap();
        let [last, ended, confirmed] = *told.last().unwrap();
        assert!(ended >= 1_000, "{ended} traces");
        let [_, before, _] = *told.iter().rev().find(|[at, ..]| *at + 100_000 <= last).unwrap();
        least = least.min(confirmed as f64 / before as f64);
        ended_in_all += ended;

        let backend = Backend::start_at(port);
        let stats = delivered_by_the_next(&dir, &backend, usize::try_from(confirmed).unwrap());
        let names = names(&backend);
        assert!((0..confirmed).all(|n| names.contains(&format!("trace {n}"))), "{confirmed} were confirmed");
        assert!(stats.dropped_total() <= 1, "at most the one that was being written: {stats:?}");
    }
    println!(
        "{kills} kills of {} traces each: all confirmed ones delivered; of those ended 100 ms before, {:.1} % confirmed at least",
        ended_in_all / kills,
        least * 100.0
    );
    assert!(least >= 0.95, "{least}");
}
