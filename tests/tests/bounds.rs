//! What is waiting is bounded: what gives way, and what does not.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pandaprobe::{Client, Config, DropReason, Exporter, MemoryExporter, Overflow};
use pandaprobe_tests::{
    backend::{Answer, Backend},
    free_port, url_at,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);

fn config(url: &str) -> Config {
    Config::new().api_key("sk_pp_test").project_name("tests").endpoint(url).unwrap()
}

#[test]
fn what_gives_way_is_chosen() {
    let full = |overflow| {
        let backend = Backend::start();
        backend.script_with(|_, _| Answer::status(503));
        let client =
            Client::new(config(&backend.url()).max_buffered_bytes(100_000).overflow(overflow)).unwrap();
        (client, backend)
    };
    let fill = |client: &Client| {
        for n in 0..200 {
            client.trace(format!("t{n:03}")).input("x".repeat(1_000)).run(|_| ());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let names = |client: &Client, backend: &Backend| {
        backend.script([]);
        client.flush(Duration::from_secs(60)).unwrap();
        let name = |trace: &Value| trace["name"].as_str().unwrap().to_owned();
        backend.traces().iter().map(name).collect::<std::collections::BTreeSet<_>>()
    };
    let (client, backend) = full(Overflow::DropOldest);
    fill(&client);
    let sent = names(&client, &backend);
    assert!(sent.contains("t199") && !sent.contains("t010") && sent.len() > 20, "{sent:?}");
    assert_eq!(sent.len() as u64 + client.stats().dropped_total(), 200);

    let (client, backend) = full(Overflow::DropNewest);
    fill(&client);
    let sent = names(&client, &backend);
    assert!(sent.contains("t010") && !sent.contains("t199") && sent.len() > 20, "{sent:?}");
    assert_eq!(sent.len() as u64 + client.stats().dropped_total(), 200);

    // It waits in vain first, and then as long as it must.
    let (client, backend) = full(Overflow::Block(Duration::from_millis(2)));
    fill(&client);
    assert!(client.stats().dropped[&DropReason::BufferFull] > 20, "{:?}", client.stats());
    let before = client.stats().dropped_total();
    backend.script([]);
    client.flush(Duration::from_secs(60)).unwrap();
    let (client, backend) = full(Overflow::Block(Duration::from_secs(60)));
    let well = backend.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        well.script([]);
    });
    let begun = Instant::now();
    fill(&client);
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!(names(&client, &backend).len(), 200);
    assert_eq!((client.stats().dropped_total(), before > 0), (0, true));
}

/// One that is huge costs no others their place but those that are large too.
#[test]
fn a_huge_trace_does_not_cost_a_thousand_small_ones() {
    let backend = Backend::start();
    backend.script_with(|_, _| Answer::status(503));
    let client = Client::new(config(&backend.url()).max_buffered_bytes(1_000_000)).unwrap();
    (0..300).for_each(|n| client.trace(format!("small {n}")).input("x".repeat(1_000)).run(|_| ()));
    assert!(client.flush(Duration::from_millis(100)).is_err());
    for n in 0..5 {
        client.trace(format!("huge {n}")).input("x".repeat(300_000)).run(|_| ());
        assert!(client.flush(Duration::from_millis(100)).is_err());
    }
    backend.script([]);
    client.flush(Duration::from_secs(60)).unwrap();
    let small =
        backend.traces().iter().filter(|trace| trace["name"].as_str().unwrap().starts_with("small")).count();
    assert_eq!(small, 300);
    assert!(backend.traces().iter().any(|trace| trace["name"] == "huge 4"), "{:?}", client.stats());
    assert_eq!(backend.traces().len() as u64 + client.stats().dropped_total(), 305);
}

#[test]
fn a_backend_that_is_away_costs_bounded_memory_and_everything_is_counted() {
    let port = free_port();
    let config = config(&url_at(port)).max_buffered_bytes(200_000);
    let client = Client::new(config).unwrap();
    let most = 2_000;
    for n in 0..most {
        client.trace(format!("t{n}")).input("x".repeat(1_000)).run(|_| ());
        assert!(client.stats().buffered_bytes <= 200_000);
    }
    assert!(client.flush(Duration::from_millis(200)).is_err());
    let begun = Instant::now();
    let left = client.shutdown(Duration::from_millis(300)).unwrap_err().left;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(left > 0);
    let stats = client.stats();
    assert_eq!(stats.delivered, 0);
    assert_eq!(stats.dropped_total(), most, "{stats:?}");
}

#[test]
fn a_full_queue_drops_the_oldest() {
    struct Stuck(MemoryExporter, Arc<Mutex<()>>);
    impl Exporter for Stuck {
        fn export<'a>(&'a self, envelope: &'a pandaprobe::Envelope) -> pandaprobe::ExportFuture<'a> {
            drop(self.1.lock());
            self.0.export(envelope)
        }
    }
    let (kept, gate) = (MemoryExporter::default(), Arc::new(Mutex::new(())));
    let closed = gate.lock().unwrap();
    let client =
        Client::new(Config::new().exporter(Stuck(kept.clone(), Arc::clone(&gate))).max_queue_size(10))
            .unwrap();
    for n in 0..100 {
        client.trace(format!("{n}")).run(|_| ());
    }
    while client.stats().open > 0 || client.stats().dropped_total() + client.stats().queued < 100 {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(closed);
    client.flush(SOON).unwrap();
    let stats = client.stats();
    assert_eq!(stats.delivered + stats.dropped[&DropReason::QueueFull], 100);
    assert!((10..=14).contains(&stats.delivered), "{stats:?}");
    assert!(kept.traces().iter().any(|trace| trace.name == "99"), "{:?}", kept.traces());
}
