//! Pages of others, open in the same browser.

use axum::{Router, response::Html};
use serde_json::{Value, json};

use crate::{
    driver::{Browser, beside},
    fill::answer,
};

/// A server of somebody else; its port.
async fn stranger() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(|| async { Html("<title>a page of somebody else</title><body>") });
    tokio::spawn(async { axum::serve(listener, app).await });
    port
}

/// What a page can try against the server at `at`, each with what it is told.
async fn attacks(browser: &Browser, at: &str) -> Vec<(&'static str, Value)> {
    let load = |element: &str, address: &str| {
        format!(
            "new Promise((done) => {{ const element = document.createElement('{element}'); element.onload = () => done('loaded');
             element.onerror = () => done('refused'); element.rel = 'stylesheet';
             element.href = element.src = '{at}{address}'; document.head.append(element); }})"
        )
    };
    let fetch =
        |path: &str, options: &str| format!("fetch('{at}{path}', {options}).then((answer) => answer.text())");
    let body = format!("body: {}", json!(answer(7, 1).to_string()));
    let tries = [
        ("reading a list", fetch("/traces", "{}")),
        ("reading a page", fetch("/ui/traces", "{}")),
        ("reading without being shown it", fetch("/traces", "{mode: 'no-cors'}")),
        ("posting", fetch("/traces", &format!("{{method: 'POST', {body}}}"))),
        ("posting as a form does", fetch("/traces", &format!("{{method: 'POST', mode: 'no-cors', {body}}}"))),
        ("posting with a header", fetch("/traces", &format!("{{method: 'POST', headers: {{'x-api-key': 'any'}}, {body}}}"))),
        ("deleting", fetch("/traces/batch/delete", "{method: 'POST', body: JSON.stringify({trace_ids: ['10000000-0000-4000-8000-000000000000']})}")),
        ("deleting one", fetch("/traces/10000000-0000-4000-8000-000000000000", "{method: 'DELETE'}")),
        ("a beacon", format!("(navigator.sendBeacon('{at}/traces', {}), 'sent')", json!(answer(8, 1).to_string()))),
        ("a style sheet", load("link", "/ui/assets/style.css")),
        ("a script", load("script", "/ui/assets/page.js")),
        ("an image", load("img", "/ui/assets/icon.svg")),
        ("events", format!(
            "new Promise((done) => {{ const source = new EventSource('{at}/events');
             source.onopen = () => done('open'); source.onerror = () => done('refused'); }})"
        )),
        ("a frame", format!(
            "new Promise((done) => {{ const frame = document.createElement('iframe'); frame.src = '{at}/ui/traces';
             frame.onload = () => {{ try {{ done(frame.contentDocument ? frame.contentDocument.body.innerText : 'closed'); }}
             catch {{ done('closed'); }} }}; document.body.append(frame); }})"
        )),
    ];
    let mut told = Vec::new();
    for (what, expression) in tries {
        told.push((what, browser.promised(&expression).await));
    }
    told
}

/// A form that is sent to the server as a whole page; what the page then says.
async fn form(browser: &Browser, at: &str) -> String {
    let text = answer(9, 1).to_string();
    // `text/plain`: name, `=` and value of the one field are JSON together.
    let name = json!(format!("{},\"more\":\"", text.trim_end_matches('}')));
    browser
        .js(&format!(
            "const form = document.createElement('form');
             form.method = 'post'; form.enctype = 'text/plain'; form.action = '{at}/traces';
             const field = document.createElement('input'); field.name = {name}; field.value = '\"}}';
             form.append(field); document.body.append(form); form.submit();"
        ))
        .await;
    browser.until("document.readyState === 'complete' && document.title !== 'a page of somebody else'").await;
    browser.text("body").await
}

const REFUSED: &str = "this server answers to its own";

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_get_nothing_and_change_nothing() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    filled.post("/traces", &answer(0, 1)).await;
    let before = filled.traces().await;
    let port = stranger().await;
    let local = filled.url();
    let local_port = local.rsplit(':').next().unwrap();

    // Another site, another origin of this machine, and each by the server's other name.
    for (page, at) in [
        (format!("http://evil.test:{port}/"), local.clone()),
        (format!("http://127.0.0.1:{port}/"), local.clone()),
        (format!("http://localhost:{port}/"), format!("http://localhost:{local_port}")),
        // A name that was made to lead here: the page and what it asks have one origin.
        (format!("http://evil.test:{local_port}/"), String::new()),
    ] {
        browser.client.goto(&page).await.unwrap();
        for (what, told) in attacks(&browser, &at).await {
            let told = told.as_str().unwrap_or_default();
            let nothing = ["", "sent", "refused", "closed", "TypeError: Failed to fetch"];
            assert!(nothing.contains(&told) || told.contains(REFUSED), "{page}: {what}: {told}");
        }
        let told = form(&browser, &at).await;
        assert!(told.contains(REFUSED), "{page}: a form: {told}");
    }
    assert_eq!(filled.traces().await, before);

    // The server's own page may do all of that.
    browser.go("/ui/traces").await;
    let told = attacks(&browser, "").await;
    assert!(
        told.iter().any(|(_, told)| told == "open") && told.iter().any(|(_, told)| told == "loaded"),
        "{told:?}"
    );
    assert_ne!(filled.traces().await, before);
    browser.close().await;
}
