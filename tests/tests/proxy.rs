//! A proxy that the environment names is used.

use std::{process::Command, time::Duration};

use pandaprobe::{Client, Config};
use pandaprobe_tests::backend::Backend;

const CHILD: &str = "PANDAPROBE_TEST_PROXY_CHILD";

#[test]
fn traces_go_through_the_proxy_of_the_environment() {
    if std::env::var_os(CHILD).is_some() {
        let config = Config::new().api_key("sk_pp_test").project_name("tests");
        let client = Client::new(config.endpoint("http://pandaprobe.invalid").unwrap()).unwrap();
        client.trace("through a proxy").run(|_| ());
        return client.flush(Duration::from_secs(5)).unwrap();
    }
    // To a proxy for HTTP the whole URL is sent; this one answers for all hosts.
    let proxy = Backend::start();
    let run = |no_proxy: &str| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "traces_go_through_the_proxy_of_the_environment"]).env(CHILD, "1");
        child.env("HTTP_PROXY", proxy.url()).env("http_proxy", proxy.url()).env("NO_PROXY", no_proxy);
        child.env("no_proxy", no_proxy).output().unwrap()
    };
    let output = run("elsewhere.invalid");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(proxy.traces().len(), 1);
    assert_eq!(proxy.requests()[0].header("host"), Some("pandaprobe.invalid"));
    // Named in NO_PROXY it is looked up, and there is no such host.
    assert!(!run("pandaprobe.invalid").status.success());
    assert_eq!(proxy.requests().len(), 1);
}
