//! What the tests of the spool share.

use std::time::Duration;

use pandaprobe::Config;
use pandaprobe_tests::Directory;

/// A client with its spool in `dir`, for a backend at `url`. Its shutdown waits for a tenth of a second.
pub(crate) fn config(dir: &Directory, url: &str) -> Config {
    let config = Config::new().api_key("sk_pp_secret").project_name("tests").endpoint(url).unwrap();
    config.spool(dir.path()).shutdown_timeout(Duration::from_millis(100))
}
