//! What fails: when it is tried again, and when no more.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use pandaprobe::{
    Client, Config, DropReason, Envelope, ExportError, ExportFuture, Exporter, MemoryExporter, ReportKind,
};
use pandaprobe_tests::{
    Directory,
    backend::{Answer, Backend},
};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

fn config(url: &str) -> Config {
    Config::new().api_key("sk_pp_test").project_name("tests").endpoint(url).unwrap()
}

fn record(client: &Client, name: &str) {
    client.trace(name).user_id("ada").input("in").run(|trace| trace.set_output("out"));
}

#[test]
fn what_fails_for_a_moment_is_repeated_with_the_same_request_id() {
    let backend = Backend::start();
    backend.script([Answer::status(503), Answer::Reset, Answer::internal_error(), Answer::Normal]);
    let client = Client::new(config(&backend.url())).unwrap();
    record(&client, "t");
    client.flush(Duration::from_secs(30)).unwrap();
    let requests = backend.requests();
    assert_eq!(requests.len(), 4);
    assert!(
        requests.iter().all(|request| request.header("x-request-id") == requests[0].header("x-request-id"))
    );
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert_eq!(backend.traces().len(), 1);
    let stats = client.stats();
    assert_eq!((stats.delivered, stats.retried, stats.dropped_total()), (1, 3, 0));
}

/// A wrong key and a used-up quota are not the trace's fault.
#[test]
fn whoever_is_denied_waits_and_asks_rarely() {
    for denial in [
        Answer::json(401, &json!({"detail": "Invalid or revoked API key."})),
        Answer::status(403),
        Answer::over_quota(),
    ] {
        let backend = Backend::start();
        backend.script_with(move |_, nth| if nth < 7 { denial.clone() } else { Answer::Normal });
        let denied: Arc<Mutex<Vec<String>>> = Arc::default();
        let hear = Arc::clone(&denied);
        let config = config(&backend.url())
            .probe_interval(Duration::from_millis(100))
            .retry_deadline(Duration::from_millis(200))
            .on_error(move |report| hear.lock().unwrap().push(report.to_string()));
        let client = Client::new(config).unwrap();
        (0..50).for_each(|n| record(&client, &format!("t{n}")));
        let begun = Instant::now();
        assert!(client.flush(SOON).is_err(), "there is no use in waiting");
        assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
        assert!(backend.requests().len() < 6, "{} asked", backend.requests().len());
        backend.wait_for(50, SOON);
        client.flush(SOON).unwrap();
        // Those under way at first, and one each time.
        assert_eq!(backend.requests().len(), 57);
        assert_eq!((client.stats().delivered, client.stats().dropped_total()), (50, 0));
        assert_eq!(client.stats().reports[&ReportKind::Denied], 7);
        assert!(denied.lock().unwrap().iter().all(|report| report.contains(" answered 4")));
    }
}

/// While one asks whether it is still denied, the others sleep.
#[test]
#[cfg(target_os = "linux")]
fn waiting_takes_no_time_of_the_processor() {
    let backend = Backend::start();
    backend.script_with(|_, nth| if nth < 8 { Answer::status(401) } else { Answer::Hang });
    let client = Client::new(config(&backend.url()).probe_interval(Duration::from_millis(20))).unwrap();
    (0..20).for_each(|n| record(&client, &format!("t{n}")));
    assert!(backend.wait_until(SOON, |backend| backend.requests().len() > 8));
    let spent = || -> u64 {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
        let stat = |path: std::path::PathBuf| std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let ours = threads.map(stat).filter(|stat| stat.contains("pandaprobe-send"));
        let ticks = |stat: String| -> u64 {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        ours.map(ticks).sum()
    };
    // Tests beside this one have senders too, so the least of some tries counts.
    let least = (0..5).map(|_| {
        let before = spent();
        std::thread::sleep(Duration::from_millis(500));
        spent().saturating_sub(before)
    });
    let least = least.min().unwrap();
    assert!(least < 25, "{least} hundredths of a second in half a second");
    assert!(client.shutdown(Duration::from_millis(10)).is_err());
}

#[test]
fn the_end_of_a_program_that_is_denied_does_not_wait() {
    let backend = Backend::start();
    backend.script_with(|_, _| Answer::status(401));
    let client = Client::new(config(&backend.url())).unwrap();
    (0..10).for_each(|n| record(&client, &format!("t{n}")));
    let begun = Instant::now();
    assert_eq!(client.shutdown(SOON).unwrap_err().left, 10);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(client.stats().dropped[&DropReason::Shutdown], 10);
}

#[test]
fn a_rate_limit_holds_up_everything_and_loses_nothing() {
    let backend = Backend::start();
    let limited = Answer::rate_limited().header("retry-after", "0.3");
    backend.script([limited]);
    let client = Client::new(config(&backend.url())).unwrap();
    (0..20).for_each(|n| record(&client, &format!("{n}")));
    client.flush(SOON).unwrap();
    assert_eq!(backend.traces().len(), 20);
    assert_eq!(client.stats().dropped_total(), 0);
    let times: Vec<Instant> = backend.requests().iter().map(|request| request.at).collect();
    let after: usize =
        times.iter().filter(|time| time.duration_since(times[0]) < Duration::from_millis(250)).count();
    assert!(after <= 4, "{after} requests left while the limit held");
}

/// Each POST of a score is one more score.
#[test]
fn a_score_whose_answer_was_lost_is_looked_up_before_it_is_sent_again() {
    let backend = Backend::start();
    let client = Client::new(config(&backend.url()).request_timeout(Duration::from_millis(300))).unwrap();
    let id = client.trace("t").run(|trace| trace.id());
    client.flush(SOON).unwrap();
    let posts = || backend.requests_to("POST", "/evaluations/trace-scores").len();
    // Stored and not answered; lost on its way; answered too late.
    for (n, answer) in
        [Answer::StoreThenReset, Answer::Reset, Answer::Slow(Duration::from_millis(600)), Answer::Normal]
            .into_iter()
            .enumerate()
    {
        backend.script([answer]);
        client.score(id, format!("score {n}"), pandaprobe::Score::from(0.5).reason("why"));
        client.flush(SOON).unwrap();
        assert_eq!(backend.scores().len(), n + 1, "{:?}", backend.scores());
    }
    assert_eq!(posts(), 5, "only the one that was lost was sent twice");
    assert_eq!((client.stats().delivered, client.stats().dropped_total()), (5, 0));
}

/// Fails for traces that are called so, with all the same answer, and keeps the others.
#[derive(Clone, Default)]
struct Fails {
    after: Option<Duration>,
    attempts: Arc<AtomicU32>,
    kept: MemoryExporter,
}

impl Exporter for Fails {
    fn export<'a>(&'a self, envelope: &'a Envelope) -> ExportFuture<'a> {
        if !String::from_utf8_lossy(envelope.body()).contains("fails") {
            return self.kept.export(envelope);
        }
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let message = "the backend is away".to_owned();
        Box::pin(async { Err(ExportError::Retry { message, after: self.after, everything: true }) })
    }
}

/// On disk it may wait for the backend for as long as that takes, but not for what fails alone.
#[test]
fn what_fails_while_others_get_through_is_given_up_with_a_spool_too() {
    let (dir, fails) = (Directory::new(), Fails::default());
    let config = Config::new().exporter(fails.clone()).spool(dir.path());
    let client = Client::new(config.retry_deadline(Duration::from_millis(700))).unwrap();
    // Nothing else is tried: there is no saying whose fault it is.
    record(&client, "fails");
    assert!(client.flush(Duration::from_secs(2)).is_err());
    assert_eq!((client.stats().dropped_total(), client.stats().spooled), (0, 1), "{:?}", client.stats());
    let begun = Instant::now();
    while client.stats().dropped_total() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", client.stats());
        record(&client, "well");
        std::thread::sleep(Duration::from_millis(20));
    }
    client.flush(SOON).unwrap();
    let stats = client.stats();
    assert_eq!((stats.dropped[&DropReason::RetriesExhausted], stats.spooled), (1, 0), "{stats:?}");
    assert_eq!(stats.delivered as usize, fails.kept.traces().len());
    assert!(fails.attempts.load(Ordering::Relaxed) > 3);
}

#[test]
fn a_wait_of_no_time_is_no_wait_to_keep_to() {
    let fails = Fails { after: Some(Duration::ZERO), ..Fails::default() };
    let client = Client::new(Config::new().exporter(fails.clone())).unwrap();
    record(&client, "fails");
    assert!(client.flush(Duration::from_millis(500)).is_err());
    let attempts = fails.attempts.load(Ordering::Relaxed);
    assert!((1..20).contains(&attempts), "{attempts} attempts in half a second");
    assert!(client.shutdown(Duration::from_millis(10)).is_err());
}

/// However long one is told to wait, nobody waits for it.
#[test]
fn times_without_end_are_no_trap() {
    let backend = Backend::start();
    backend.script_with(|_, _| Answer::status(401));
    let forever = Duration::MAX;
    let config = config(&backend.url()).probe_interval(forever).rate_limit_window(forever);
    let client = Client::new(config.retry_deadline(forever).request_timeout(forever)).unwrap();
    (0..20).for_each(|n| record(&client, &format!("{n}")));
    let begun = Instant::now();
    assert!(client.flush(forever).is_err());
    backend.script_with(|_, _| Answer::rate_limited().header("retry-after", "99999999999999999999"));
    record(&client, "limited");
    assert_eq!(client.shutdown(Duration::from_millis(300)).unwrap_err().left, 21);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(client.stats().dropped[&DropReason::Shutdown], 21);

    let elsewhere = Backend::start();
    elsewhere.script([Answer::Normal, Answer::rate_limited()]);
    let client =
        Client::new(self::config(&elsewhere.url()).rate_limit_window(forever).retry_deadline(forever))
            .unwrap();
    record(&client, "first");
    client.flush(SOON).unwrap();
    record(&client, "limited");
    assert!(client.flush(Duration::from_millis(300)).is_err());
    assert!(client.shutdown(Duration::from_millis(100)).is_err());
}
