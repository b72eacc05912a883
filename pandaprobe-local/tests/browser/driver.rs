//! A browser without a window.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder,
    actions::{InputSource, KeyAction, KeyActions},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::fill::{Filled, shop};

/// A browser, with one page.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Child,
    /// The browser's own process, which outlives its driver.
    process: Option<u64>,
    port: u16,
    pub(crate) server: String,
}

/// One browser at a time: a machine may be small.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A server with that many traces of a shop, and a browser beside it, which is the only one. `None`: there is no browser here.
pub(crate) async fn beside(traces: i64) -> Option<(MutexGuard<'static, ()>, Filled, Browser)> {
    if !is_here() {
        return None;
    }
    let alone = ALONE.lock().await;
    let filled = Filled::new();
    shop(&filled, traces).await;
    let browser = Browser::open(&filled.url()).await;
    Some((alone, filled, browser))
}

/// Whether there is a browser and what drives it.
fn is_here() -> bool {
    let runs =
        |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let present =
        ["chromium", "chromedriver"].iter().all(|name| runs(name).is_ok_and(|status| status.success()));
    pandaprobe_tests::shared::require("chromium", present)
}

impl Browser {
    async fn open(server: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let said =
            lines.find_map(|line| Some(line.unwrap().split_once("successfully on port ")?.1.to_owned()));
        let port = said.unwrap().trim_end_matches('.').parse().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let options = json!({
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
                "--disable-background-networking", "--no-first-run", "--window-size=1440,900",
                // Names of others that lead to this machine, as whoever owns a name can make them.
                "--host-resolver-rules=MAP *.test 127.0.0.1",
            ]},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(serde_json::from_value(options).unwrap());
        let client = builder.connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        let process = client.capabilities().and_then(|all| all.get("goog:processID")?.as_u64());
        let browser = Self { client, driver, process, port, server: server.to_owned() };
        browser.size(1440, 900).await;
        browser
    }

    pub(crate) async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.server)).await.unwrap();
    }

    /// What a script returns.
    pub(crate) async fn js(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What the promise of an expression gives.
    pub(crate) async fn promised(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; Promise.resolve({expression}).then(done, (error) => done(String(error)))"
        );
        self.client.execute_async(&script, vec![]).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({})?.innerText ?? ''", json!(selector));
        self.js(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression holds.
    pub(crate) async fn until(&self, expression: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.js(&format!("return !!({expression})")).await != Value::Bool(true) {
            if Instant::now() > until {
                let errors = self.errors().await;
                panic!("{expression} never holds; {errors:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses keys, one after the other.
    pub(crate) async fn press(&self, keys: &str) {
        let actions = keys.chars().fold(KeyActions::new("keys".to_owned()), |actions, key| {
            actions.then(KeyAction::Down { value: key }).then(KeyAction::Up { value: key })
        });
        self.client.perform_actions(actions).await.unwrap();
    }

    /// The size of the page on the screen.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub(crate) async fn dark(&self, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// What fantoccini has no word for.
    async fn ask(&self, what: &str, body: Value) -> Value {
        let session = self.client.session_id().await.unwrap().unwrap();
        let address = format!("http://127.0.0.1:{}/session/{session}/{what}", self.port);
        let answer = reqwest::Client::new().post(address).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["value"].take()
    }

    /// Errors and warnings of the console since it was last asked for them.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let log = self.ask("se/log", json!({"type": "browser"})).await;
        let entries = log.as_array().cloned().unwrap_or_default();
        let bad = entries.iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].to_string()).collect()
    }

    /// The page has no error, asks nobody else, and is no wider than the screen.
    pub(crate) async fn check(&self, what: &str) {
        assert_eq!(self.errors().await, [""; 0], "{what}");
        let elsewhere = self.js("return performance.getEntriesByType('resource').map((entry) => entry.name)
                .filter((name) => !name.startsWith(location.origin + '/') && !name.startsWith('data:'))");
        assert_eq!(elsewhere.await, json!([]), "{what}");
        let wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        if self.js(wider).await != json!(0) {
            let widest = "return location.pathname + ' ' + [...document.querySelectorAll('main *')].filter((element) =>
                element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.tagName + '.' + element.className).slice(0, 8)";
            panic!("{what}: wider than the screen: {}", self.js(widest).await);
        }
    }

    /// Whatever can be used has a name, and there is one heading of the first level.
    pub(crate) async fn check_names(&self, what: &str) {
        let tree = self.devtools("Accessibility.getFullAXTree", json!({})).await;
        let text =
            |node: &Value, field: &str| node[field]["value"].as_str().unwrap_or_default().trim().to_owned();
        let used = [
            "button",
            "link",
            "textbox",
            "searchbox",
            "combobox",
            "switch",
            "tree",
            "treeitem",
            "region",
            "img",
            "dialog",
            "navigation",
            "row header",
        ];
        let mut firsts = 0;
        for node in tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true) {
            let (role, name) = (text(node, "role"), text(node, "name"));
            assert!(
                !name.is_empty() || !used.contains(&role.as_str()),
                "{what}: a {role} without a name: {node}"
            );
            let level =
                node["properties"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "level"));
            firsts +=
                usize::from(role == "heading" && level.is_some_and(|level| level["value"]["value"] == 1));
        }
        assert_eq!(firsts, 1, "{what}: headings of the first level");
    }

    pub(crate) async fn screenshot(&self, name: &str) {
        // Animations of what is new would make each picture another.
        tokio::time::sleep(Duration::from_millis(250)).await;
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/screenshots"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
    }

    pub(crate) async fn close(mut self) {
        if self.client.clone().close().await.is_ok() {
            self.process = None;
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that failed has not closed it.
        if let Some(process) = self.process.take() {
            let _ = Command::new("kill").arg(process.to_string()).stderr(Stdio::null()).status();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
