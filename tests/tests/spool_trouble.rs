//! What a spool does when the disk, or whoever else uses it, makes trouble.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod spooled;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pandaprobe::{Client, Config, MemoryExporter, ReportKind};
use pandaprobe_tests::{
    Directory,
    backend::{Answer, Backend},
    free_port, url_at,
};
use spooled::config;

const SOON: Duration = Duration::from_secs(30);

/// Records `count` traces of so many bytes.
fn record(client: &Client, count: u64, bytes: usize) {
    let text = "x".repeat(bytes);
    for n in 0..count {
        client.trace(format!("trace {n}")).user_id(format!("user {n}")).input(text.as_str()).run(|_| ());
    }
}

/// [`record`], and waits until they are on disk.
fn leave(client: &Client, count: u64, bytes: usize) {
    let before = client.stats().spooled;
    record(client, count, bytes);
    let begun = Instant::now();
    while client.stats().spooled < before + count {
        assert!(begun.elapsed() < SOON, "{:?}", client.stats());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Puts a directory in the place of each segment, so that it can be found and not be read, and tells where they went.
fn hide(segments: &[PathBuf]) -> Vec<(PathBuf, PathBuf)> {
    let away = |path: &PathBuf| path.with_extension("away");
    let moved: Vec<_> = segments.iter().map(|path| (path.clone(), away(path))).collect();
    for (path, away) in &moved {
        fs::rename(path, away).unwrap();
        fs::create_dir(path).unwrap();
    }
    moved
}

fn bring_back(moved: &[(PathBuf, PathBuf)]) {
    for (path, away) in moved {
        fs::remove_dir(path).unwrap();
        fs::rename(away, path).unwrap();
    }
}

#[test]
fn what_cannot_be_taken_over_now_is_taken_over_later() {
    let (dir, port) = (Directory::new(), free_port());
    let client = Client::new(config(&dir, &url_at(port))).unwrap();
    leave(&client, 20, 10);
    drop(client);
    let moved = hide(&dir.segments());
    let backend = Backend::start_at(port);
    let client = Client::new(config(&dir, &backend.url())).unwrap();
    let begun = Instant::now();
    while client.stats().reports.get(&ReportKind::SpoolFailed) != Some(&1) {
        assert!(begun.elapsed() < SOON, "{:?}", client.stats());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!((client.stats().dropped_total(), client.stats().spooled), (0, 0));
    drop(client);
    bring_back(&moved);
    let client = Client::new(config(&dir, &backend.url())).unwrap();
    assert_eq!(backend.wait_for(20, SOON).len(), 20);
    client.flush(SOON).unwrap();
    assert_eq!((client.stats().delivered, client.stats().dropped_total()), (20, 0));
    drop(client);
    assert!(dir.files().is_empty(), "{:?}", dir.files());
}

#[test]
fn what_cannot_be_read_now_is_read_later() {
    let (dir, port) = (Directory::new(), free_port());
    let config = config(&dir, &url_at(port)).max_spool_bytes(4 << 20);
    let client = Client::new(config).unwrap();
    leave(&client, 60, 50_000);
    assert!(dir.segments().len() > 2, "{:?}", dir.files());
    // The last one is open.
    let segments = dir.segments();
    let moved = hide(&segments[..segments.len() - 1]);
    let backend = Backend::start_at(port);
    assert!(client.flush(Duration::from_secs(1)).is_err());
    assert_eq!(client.stats().dropped_total(), 0, "{:?}", client.stats());
    bring_back(&moved);
    client.flush(SOON).unwrap();
    assert_eq!((backend.traces().len(), client.stats().dropped_total()), (60, 0), "{:?}", client.stats());
}

#[test]
fn half_an_entry_in_the_list_of_what_is_done_makes_nothing_come_twice() {
    let dir = Directory::new();
    let backend = Backend::start();
    let takes = |some: usize| {
        backend.script_with(move |_, nth| if nth < some { Answer::Normal } else { Answer::status(401) });
    };
    takes(10);
    let client = Client::new(config(&dir, &backend.url())).unwrap();
    record(&client, 30, 1);
    assert!(backend.wait_until(SOON, |backend| backend.traces().len() == 10));
    assert!(client.shutdown(Duration::from_millis(100)).is_err());
    drop(client);
    for _ in 0..2 {
        let list =
            dir.files().into_iter().find(|path| path.extension().is_some_and(|it| it == "done")).unwrap();
        let mut bytes = fs::read(&list).unwrap();
        bytes.extend([1, 2, 3, 4]);
        fs::write(&list, bytes).unwrap();
        let before = backend.traces().len();
        takes(10);
        let client = Client::new(config(&dir, &backend.url())).unwrap();
        assert!(backend.wait_until(SOON, |backend| backend.traces().len() == before + 10));
        let _ = client.shutdown(Duration::from_millis(100));
        drop(client);
    }
    assert_eq!(backend.traces().len(), 30);
    let taken: Vec<_> = backend.requests_to("POST", "/traces");
    let taken = taken.iter().filter(|request| request.status == Some(202)).count();
    assert_eq!((taken, dir.files().len()), (30, 0), "{:?}", dir.files());
}

/// Each POST of a score is one more, and who sent this one may not have lived to hear that it was taken.
#[test]
fn a_score_that_was_left_is_looked_up_before_it_is_sent() {
    let dir = Directory::new();
    let backend = Backend::start();
    let client = Client::new(config(&dir, &backend.url())).unwrap();
    let id = client.trace("t").run(|trace| trace.id());
    client.flush(SOON).unwrap();
    backend.script([Answer::StoreThenReset, Answer::status(401), Answer::status(401)]);
    client.score(id, "taken", true);
    assert!(backend.wait_until(SOON, |backend| backend.scores().len() == 1));
    assert!(client.shutdown(Duration::from_millis(100)).is_err());
    drop(client);
    backend.script([]);
    let client = Client::new(config(&dir, &backend.url())).unwrap();
    let begun = Instant::now();
    while client.stats().delivered == 0 {
        assert!(begun.elapsed() < SOON, "{:?}", client.stats());
        std::thread::sleep(Duration::from_millis(2));
    }
    client.score(id, "new", true);
    client.flush(SOON).unwrap();
    let names: Vec<_> = backend.scores().iter().map(|score| score["name"].clone()).collect();
    assert_eq!(names, ["taken", "new"]);
}

/// What is delivered makes room, also in the segment that is written.
#[test]
fn a_small_spool_of_large_traces_that_are_delivered_is_never_full() {
    let dir = Directory::new();
    let backend = Backend::start();
    let client = Client::new(config(&dir, &backend.url()).max_spool_bytes(4 << 20)).unwrap();
    for n in 0..160 {
        let text = "x".repeat(50_000);
        client.trace(format!("trace {n}")).user_id(format!("user {n}")).input(text).run(|_| ());
        client.flush(SOON).unwrap();
    }
    assert_eq!((backend.traces().len(), client.stats().dropped_total()), (160, 0), "{:?}", client.stats());
    let bytes: u64 = dir.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < 2 << 20, "{bytes} bytes of what is delivered");
}

/// What is on disk does not count for a queue that is in memory.
#[test]
fn a_disk_that_goes_away_leaves_the_queue_its_room() {
    let (dir, port) = (Directory::new(), free_port());
    let client = Client::new(config(&dir, &url_at(port)).max_queue_size(50)).unwrap();
    leave(&client, 60, 10);
    let away = dir.path().with_extension("away");
    fs::rename(dir.path(), &away).unwrap();
    // A segment is full before anybody notices.
    leave(&client, 8, 1 << 20);
    record(&client, 5, 1);
    assert!(client.flush(Duration::from_millis(200)).is_err());
    let stats = client.stats();
    assert!(stats.reports.get(&ReportKind::SpoolFailed).is_some_and(|n| *n >= 5), "{stats:?}");
    assert_eq!((stats.spooled, stats.queued, stats.dropped_total()), (68, 73, 0), "{stats:?}");
    fs::rename(&away, dir.path()).unwrap();
    let backend = Backend::start_at(port);
    client.flush(SOON).unwrap();
    assert_eq!((backend.traces().len(), client.stats().dropped_total()), (73, 0));
}

#[test]
fn a_client_that_takes_the_place_of_another_delivers_what_that_one_left() {
    let (dir, port) = (Directory::new(), free_port());
    let guard = pandaprobe::init(config(&dir, &url_at(port))).unwrap();
    let first = guard.client();
    record(first, 20, 1);
    let backend = Backend::start_at(port);
    backend.script_with(|_, _| Answer::status(401));
    assert!(first.flush(SOON).is_err());
    backend.script([]);
    let second = pandaprobe::init(config(&dir, &url_at(port)).shutdown_timeout(SOON)).unwrap();
    assert_eq!(backend.wait_for(20, SOON).len(), 20);
    drop(guard);
    pandaprobe::flush(SOON).unwrap();
    assert_eq!(pandaprobe::stats().dropped_total(), 0);
    drop(second);
    assert!(dir.files().is_empty(), "{:?}", dir.files());
}

#[test]
fn an_exporter_of_ones_own_has_a_spool_without_a_key() {
    let (dir, kept) = (Directory::new(), MemoryExporter::default());
    let client = Client::new(Config::new().exporter(kept.clone()).spool(dir.path())).unwrap();
    record(&client, 5, 1);
    client.flush(SOON).unwrap();
    assert_eq!(kept.traces().len(), 5);
}

/// Nothing that is not a spool's is touched.
#[test]
fn what_others_put_there_is_theirs() {
    let (dir, port) = (Directory::new(), free_port());
    let foreign = dir.path().join("cache");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("0000000000000000.seg"), "mine").unwrap();
    fs::write(dir.path().join(format!("1-{}", "0".repeat(32))), "a file").unwrap();
    let client = Client::new(config(&dir, &url_at(port))).unwrap();
    leave(&client, 1, 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.stats().dropped_total(), 0);
    drop(client);
    let exists = |path: &Path| path.exists();
    assert!(exists(&foreign.join("0000000000000000.seg")) && !exists(&foreign.join("lock")));
}
