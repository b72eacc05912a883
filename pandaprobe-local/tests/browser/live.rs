//! What changes while a page is open, also when something goes wrong in between.

use serde_json::{Value, json};

use crate::{
    driver::{Browser, beside},
    fill::{Filled, ago, shop},
};

const ID: &str = "20000000-0000-4000-8000-000000000001";

/// A trace that runs, and its page.
async fn running(filled: &Filled, browser: &Browser) {
    let messages = json!({"messages": [{"role": "user", "content": "Is it done?"}]});
    let trace = json!({"trace_id": ID, "name": "live one", "status": "RUNNING", "started_at": ago(0), "input": messages});
    filled.post("/traces", &trace).await;
    browser.go(&format!("/ui/traces/{ID}")).await;
    browser.until("performance.getEntriesByName('interactive').length").await;
}

fn span(name: &str) -> Value {
    let asked = json!({"messages": [{"role": "user", "content": "Is it done?"}]});
    json!([{"name": name, "kind": "LLM", "started_at": ago(0), "input": asked}])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_during_a_load_is_shown() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    running(&filled, &browser).await;
    browser
        .js("const real = window.fetch; window.answered = 0;
             window.fetch = async (...all) => { window.fetch = real; const answer = await real(...all); window.answered++;
                 await new Promise((done) => setTimeout(done, 800)); return answer; };")
        .await;
    filled.patch(&format!("/traces/{ID}"), &json!({"tags": ["late"]})).await;
    browser.until("window.answered").await;
    filled.patch(&format!("/traces/{ID}"), &json!({"status": "COMPLETED"})).await;
    browser.until("document.querySelector('#status .status').innerText === 'completed'").await;
    browser.check("a change during a load").await;
    browser.close().await;
}

/// The next request fails as if the server were gone.
const FAIL: &str = "const real = window.fetch; window.hasFailed = false;
    window.fetch = async () => { window.fetch = real; window.hasFailed = true; throw new TypeError('gone'); };";

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_is_made_up_for() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    running(&filled, &browser).await;
    browser.js(FAIL).await;
    filled.post(&format!("/traces/{ID}/spans"), &span("after all")).await;
    browser.until("window.hasFailed").await;
    browser.until("document.querySelector('.row .name')?.textContent === 'after all'").await;
    browser.check("trace").await;
    browser.go("/ui/traces").await;
    browser.until("document.querySelectorAll('tbody tr').length === 1").await;
    // The first load, after the stream of events has been opened.
    browser.until("performance.getEntriesByType('resource').some((entry) => entry.name.includes('/ui/traces/rows'))").await;
    browser.js(FAIL).await;
    shop(&filled, 1).await;
    browser.until("window.hasFailed").await;
    browser.until("document.querySelectorAll('tbody tr').length === 2").await;
    browser.check("list").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_nobody_listens_is_shown() {
    let Some((_alone, mut filled, browser)) = beside(3).await else {
        return;
    };
    browser.go("/ui/traces").await;
    browser.until("performance.getEntriesByType('resource').some((entry) => entry.name.includes('/ui/traces/rows'))").await;
    filled.restart();
    let trace = json!({"trace_id": ID, "name": "meanwhile", "started_at": ago(0)});
    filled.post("/traces", &trace).await;
    browser.until("document.querySelector('tbody').innerText.includes('meanwhile')").await;
    // What has ended may change, too.
    browser.go(&format!("/ui/traces/{ID}")).await;
    browser.until("performance.getEntriesByName('interactive').length").await;
    filled.restart();
    filled.patch(&format!("/traces/{ID}"), &json!({"tags": ["meanwhile-tagged"]})).await;
    browser.until("document.getElementById('detail').innerText.includes('meanwhile-tagged')").await;
    // That the server was gone is told, but nothing broke.
    let errors = browser.errors().await;
    assert!(!errors.iter().any(|error| error.contains("Uncaught")), "{errors:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_read_stays_as_it_is() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    running(&filled, &browser).await;
    let open = "window.opened = document.querySelector('#detail details'); window.opened.open = true;";
    browser.js(open).await;
    filled.post(&format!("/traces/{ID}/spans"), &span("first")).await;
    browser.until("document.querySelector('.row .name')?.textContent === 'first'").await;
    assert_eq!(browser.js("return window.opened.isConnected && window.opened.open").await, true);
    // The same once the details were loaded by themselves.
    browser.press("j").await;
    browser.until("document.getElementById('span-name')").await;
    browser.js(open).await;
    filled.post(&format!("/traces/{ID}/spans"), &span("second")).await;
    browser.until("document.querySelectorAll('.row:not([hidden])').length === 2").await;
    assert_eq!(browser.js("return window.opened.isConnected && window.opened.open").await, true);
    // What did change is shown.
    browser.press("\u{e00c}").await;
    browser.until("document.getElementById('own-name')").await;
    filled.patch(&format!("/traces/{ID}"), &json!({"output": "All done."})).await;
    browser.until("document.getElementById('detail').innerText.includes('All done.')").await;
    browser.check("what is being read").await;
    browser.close().await;
}
