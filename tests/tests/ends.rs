//! How a process ends: by a panic, by a signal.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use pandaprobe::Config;
use pandaprobe_tests::backend::Backend;
use serde_json::json;

const CHILD: &str = "PANDAPROBE_TEST_ENDS_CHILD";

fn config(url: &str) -> Config {
    Config::new().api_key("k").project_name("tests").endpoint(url).unwrap()
}

/// Runs a test of this file again, in a process of its own that knows the backend.
fn again(test: &str, backend: &Backend) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(CHILD, backend.url());
    child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_panic_delivers_what_has_ended() {
    if let Ok(url) = std::env::var(CHILD) {
        let guard = pandaprobe::init(config(&url)).unwrap();
        // No guard is dropped, as in a program whose panics abort.
        std::mem::forget(guard);
        pandaprobe::flush_on_panic(Duration::from_secs(10));
        pandaprobe::flush_on_panic(Duration::ZERO);
        pandaprobe::trace("before the panic").run(|_| ());
        assert!(url.is_empty(), "as it must");
    }
    let backend = Backend::start();
    let output = again("a_panic_delivers_what_has_ended", &backend).wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_eq!(backend.traces()[0]["name"], "before the panic");
    let told = String::from_utf8_lossy(&output.stderr).matches("as it must").count();
    assert_eq!(told, 1, "the hook before it runs, once");
}

#[test]
#[cfg(unix)]
fn a_signal_ends_a_server_that_delivers_what_is_open() {
    if let Ok(url) = std::env::var(CHILD) {
        let _guard = pandaprobe::init(config(&url)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let open = pandaprobe::trace("open").start();
            pandaprobe::trace("done").run(|_| ());
            let mut stop = std::pin::pin!(pandaprobe::terminated());
            // Its first poll is what makes it listen.
            let early = tokio::time::timeout(Duration::from_millis(10), &mut stop).await;
            assert!(early.is_err());
            std::io::Write::write_all(&mut std::io::stdout(), b"ready\n").unwrap();
            stop.await;
            std::mem::forget(open);
        });
    }
    for signal in ["-TERM", "-INT"] {
        let backend = Backend::start();
        let mut child = again("a_signal_ends_a_server_that_delivers_what_is_open", &backend);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("ready")));
        let begun = Instant::now();
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let mut traces = backend.traces();
        traces.sort_by_key(|trace| trace["name"].to_string());
        assert_eq!((&traces[0]["name"], &traces[1]["name"]), (&json!("done"), &json!("open")));
        assert_eq!(traces[1]["metadata"]["pandaprobe.end"], "shutdown");
    }
}
