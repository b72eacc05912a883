//! Each page: how it looks, what the keys do, what is live.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::{
    driver::beside,
    fill::{ago, answer, large},
};

const TRACE: &str = "/ui/traces/10000000-0000-4000-8000-00000000002b";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_says_how_to_fill_it() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    browser.go("/").await;
    let page = browser.text("main").await;
    for word in [
        "No trace yet",
        "PANDAPROBE_ENDPOINT=http://127.0.0.1:",
        "PANDAPROBE_API_KEY=anything",
        "PANDAPROBE_PROJECT_NAME",
    ] {
        assert!(page.contains(word), "{page}");
    }
    browser.check("empty").await;
    browser.screenshot("empty").await;
    for path in ["/ui/sessions", "/ui/users", "/ui/overview"] {
        browser.go(path).await;
        browser.check(path).await;
    }
    // The first trace takes the place of the welcome by itself.
    browser.go("/ui/traces").await;
    filled.post("/traces", &answer(0, 1)).await;
    browser.until("document.querySelectorAll('table.list tbody tr').length === 1").await;
    browser.check("first trace").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_in_light_and_dark_wide_and_narrow() {
    let Some((_alone, filled, browser)) = beside(48).await else {
        return;
    };
    for (name, value) in [("helpfulness", "0.9"), ("tone", "0.75")] {
        let score = json!({"trace_id": "10000000-0000-4000-8000-00000000002f", "name": name, "value": value, "reason": "short and exact"});
        filled.post("/evaluations/trace-scores", &score).await;
    }
    let span = format!("{TRACE}?span=10000000-0000-4007-8000-00000000002b");
    let pages = [
        ("traces", "/ui/traces"),
        ("filtered", "/ui/traces?status=ERROR&range=7d&sort=cost&min_spans=2"),
        ("trace", TRACE),
        ("span", &span),
        (
            "error",
            "/ui/traces/10000000-0000-4000-8000-000000000028?span=10000000-0000-4005-8000-000000000028",
        ),
        ("sessions", "/ui/sessions"),
        ("session", "/ui/session?id=chat-10"),
        ("users", "/ui/users"),
        ("user", "/ui/user?id=user-3"),
        ("overview", "/ui/overview"),
        ("absent", "/ui/traces/00000000-0000-4000-8000-000000000000"),
    ];
    for (look, is_dark, width, height) in
        [("light", false, 1440, 900), ("dark", true, 1440, 900), ("narrow", false, 390, 844)]
    {
        browser.size(width, height).await;
        browser.dark(is_dark).await;
        for (name, path) in pages {
            browser.go(path).await;
            if path.contains("/traces/1") {
                browser.until("document.querySelectorAll('.row:not([hidden])').length === 7").await;
            }
            browser.screenshot(&format!("{name}-{look}")).await;
            if name == "absent" {
                assert!(browser.text("h1").await.contains("No such trace"));
                browser.errors().await;
            }
            browser.check(&format!("{name} {look}")).await;
            browser.check_names(&format!("{name} {look}")).await;
            if look == "light" {
                browser.devtools("Emulation.setEmulatedMedia", json!({"media": "print"})).await;
                browser.screenshot(&format!("{name}-print")).await;
                browser.devtools("Emulation.setEmulatedMedia", json!({"media": ""})).await;
            }
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_moved_through_by_key() {
    let Some((_alone, _filled, browser)) = beside(48).await else {
        return;
    };
    browser.go("/ui/traces").await;
    browser.press("/").await;
    browser.until("document.activeElement.id === 'search'").await;
    browser.press("Elm\u{e007}").await;
    browser.until("location.search === '?q=Elm'").await;
    browser.until("document.querySelectorAll('tbody tr').length === 10").await;
    browser.js("document.querySelector('select[name=status]').value = 'ERROR'; document.querySelector('select[name=status]').dispatchEvent(new Event('change', {bubbles: true}))").await;
    browser.until("location.search === '?q=Elm&status=ERROR'").await;
    browser.until("[...document.querySelectorAll('tbody tr .status')].every((status) => status.innerText === 'error')").await;
    browser.go("/ui/traces?user_id=user-3&min_latency_ms=3000&sort=latency&order=asc").await;
    let rows = browser.js("return document.querySelectorAll('tbody tr').length").await;
    assert!((1..8).contains(&rows.as_i64().unwrap()), "{rows}");
    browser.press("jjk").await;
    browser.until("document.querySelector('tr.chosen') === document.querySelector('tbody tr')").await;
    browser.press("\u{e007}").await;
    browser.until("location.pathname.startsWith('/ui/traces/1')").await;
    browser.go("/ui/traces").await;
    browser.press("?").await;
    browser.until("document.getElementById('help').open").await;
    browser.screenshot("help").await;
    browser.check("keys").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_moved_through_by_key() {
    let Some((_alone, _filled, browser)) = beside(48).await else {
        return;
    };
    browser.go("/ui/traces/10000000-0000-4000-8000-000000000028").await;
    browser.until("document.querySelectorAll('.row:not([hidden])').length === 7").await;
    browser.press("jjj").await;
    browser.until("document.querySelector('.row.chosen .name').textContent === 'embed'").await;
    browser.until("location.search === '?span=10000000-0000-4003-8000-000000000028'").await;
    browser.until("document.getElementById('span-name')?.textContent === 'embed'").await;
    // To what it is part of, which is then folded: its row says how many are inside.
    browser.press("\u{e012}\u{e012}").await;
    browser.until("document.querySelector('.row.chosen .note').textContent === '+1'").await;
    browser.until("document.querySelectorAll('.row:not([hidden])').length === 6").await;
    browser.press("\u{e014}").await;
    browser.until("document.querySelectorAll('.row:not([hidden])').length === 7").await;
    browser.press("e").await;
    browser.until("document.querySelector('.row.chosen .name').textContent === 'find_order'").await;
    browser
        .until(
            "document.querySelector('.failure .text')?.textContent.includes('the warehouse did not answer')",
        )
        .await;
    browser.press("/answ\u{e007}").await;
    browser.until("document.querySelector('.row.chosen .name').textContent === 'answer'").await;
    browser.until("document.querySelector('.answered')?.textContent.includes('Thursday')").await;
    browser.press("\u{e00c}\u{e00c}").await;
    browser.until("!location.search && document.getElementById('own-name')").await;
    let aria = "const row = document.querySelector('.row[data-row=\"4\"]'); const say = (name) => row.getAttribute('aria-' + name);
        return [document.getElementById('tree').getAttribute('role'), say('level'), say('posinset'), say('setsize'), say('expanded')]";
    assert_eq!(browser.js(aria).await, json!(["tree", "2", "3", "4", "true"]));
    browser.check("tree").await;
    // A link to a span leads to it.
    browser
        .go("/ui/traces/10000000-0000-4000-8000-000000000028?span=10000000-0000-4006-8000-000000000028")
        .await;
    browser.until("document.querySelector('.row.chosen .name')?.textContent === 'SELECT orders'").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_scroll_scroll_where_no_list_is() {
    let Some((_alone, filled, browser)) = beside(48).await else {
        return;
    };
    let long = "A line of what was asked.\n".repeat(30);
    for number in 0..5 {
        let turn =
            json!({"name": "turn", "session_id": "long", "started_at": ago(5_000 - number), "input": long});
        filled.post("/traces", &turn).await;
    }
    // A page without rows.
    browser.go("/ui/session?id=long").await;
    browser.press("\u{e015}\u{e015}\u{e015}").await;
    browser.until("scrollY > 0").await;
    // A table that is no list.
    browser.go("/ui/user?id=user-3").await;
    browser
        .js("document.querySelector('.plot details').open = true; document.querySelector('.plot .scroll').focus();
             window.turnedBack = false; addEventListener('keydown', (event) => window.turnedBack ||= event.defaultPrevented);")
        .await;
    browser.press("\u{e015}").await;
    assert_eq!(
        browser.js("return [window.turnedBack, document.querySelector('tr.chosen')]").await,
        json!([false, null])
    );
    // Lists are moved through as before, wherever else the focus is.
    browser.js("document.activeElement.blur()").await;
    browser.press("\u{e015}").await;
    browser.until("document.querySelector('tr.chosen')").await;
    browser.check("keys that scroll").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paper_has_the_rows_that_are_not_in_sight() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    for (count, said) in [(500, ""), (2_300, "300 more spans are not printed.")] {
        let trace_id = Uuid::new_v4();
        large(&filled, trace_id, count).await;
        browser.go(&format!("/ui/traces/{trace_id}")).await;
        browser.until("performance.getEntriesByName('interactive').length").await;
        browser.js("document.getElementById('tree').scrollTop = 3000").await;
        let rows = "document.querySelectorAll('.row:not([hidden])')";
        browser
            .js(&format!(
                "const left = (line) => (line.hidden ? '' : line.textContent);
                 addEventListener('beforeprint', () => (window.printed = [{rows}.length, left(document.getElementById('left-out'))]))"
            ))
            .await;
        let pdf = browser.devtools("Page.printToPDF", json!({})).await["data"].take();
        assert_eq!(browser.js("return window.printed").await, json!([count.min(2_000), said]));
        // At 26 pixels a row, one page holds about 40.
        let pages = "return atob(arguments[0]).match(/\\/Type\\s*\\/Page\\b/g).length";
        let pages = browser.client.execute(pages, vec![pdf]).await.unwrap().as_u64().unwrap();
        assert!((count.min(2_000) as u64 / 60..count as u64 / 20).contains(&pages), "{count}: {pages} pages");
        browser.until(&format!("{rows}.length && {rows}.length < 100")).await;
        browser.until("document.getElementById('left-out').hidden").await;
        browser.check("paper").await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn details_below_the_tree_come_into_view() {
    let Some((_alone, _filled, browser)) = beside(48).await else {
        return;
    };
    browser.size(390, 844).await;
    browser.go(TRACE).await;
    browser.until("document.querySelectorAll('.row:not([hidden])').length === 7").await;
    let top = "document.getElementById('detail').getBoundingClientRect().top";
    browser.until(&format!("{top} > 400")).await;
    browser.js("document.querySelector('.row[data-row=\"3\"]').click()").await;
    browser.until("document.getElementById('span-name')?.textContent === 'plan'").await;
    browser.until(&format!("{top} < 100")).await;
    // Who runs through the tree stays there.
    browser.js("scrollTo(0, 0)").await;
    browser.press("k").await;
    browser.until("document.getElementById('span-name')?.textContent === 'embed'").await;
    browser.press("j").await;
    browser.until("document.getElementById('span-name')?.textContent === 'plan'").await;
    assert_eq!(browser.js("return scrollY").await, 0);
    browser.press("\u{e007}").await;
    browser.until(&format!("{top} < 100")).await;
    browser.check("details below the tree").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_appears_by_itself() {
    let Some((_alone, filled, browser)) = beside(3).await else {
        return;
    };
    browser.go("/ui/traces").await;
    browser.until("document.querySelectorAll('tbody tr').length === 3").await;
    browser.js("window.sameDocument = true").await;
    let trace_id = "20000000-0000-4000-8000-000000000001";
    let mut live =
        json!({"trace_id": trace_id, "name": "live one", "status": "RUNNING", "started_at": ago(0)});
    filled.post("/traces", &live).await;
    browser.until("document.querySelector('tbody tr').innerText.includes('live one')").await;
    browser.until("document.querySelector('tbody tr .status').innerText === 'running'").await;
    live["status"] = "COMPLETED".into();
    filled.post("/traces", &live).await;
    browser.until("document.querySelector('tbody tr .status').innerText === 'completed'").await;
    browser.press("p").await;
    live["trace_id"] = "20000000-0000-4000-8000-000000000002".into();
    live["name"] = "later".into();
    filled.post("/traces", &live).await;
    browser.until("document.getElementById('live-state').innerText === 'paused, 1 changed'").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!browser.text("tbody").await.contains("later"));
    browser.press("p").await;
    browser.until("document.querySelector('tbody').innerText.includes('later')").await;
    assert_eq!(browser.js("return window.sameDocument").await, true);
    // The page of a trace follows, too.
    browser.go(&format!("/ui/traces/{trace_id}")).await;
    browser.until("document.getElementById('no-spans')").await;
    let span = json!([{"name": "a span", "kind": "LLM", "started_at": ago(0)}]);
    filled.post(&format!("/traces/{trace_id}/spans"), &span).await;
    browser.until("document.querySelector('.row .name')?.textContent === 'a span'").await;
    browser.check("live").await;
    browser.close().await;
}
