//! How long the page of a large trace takes. The figures are printed.

use std::time::Instant;

use serde_json::Value;
use uuid::Uuid;

use crate::{driver::beside, fill::large};

const SCROLL: &str = "
    const done = arguments[0];
    const tree = document.getElementById('tree');
    const frames = [];
    let last = performance.now();
    const step = (now) => {
        frames.push(now - last);
        last = now;
        tree.scrollTop += 780;
        if (frames.length < 120) requestAnimationFrame(step);
        else done(frames.slice(1).sort((a, b) => a - b));
    };
    requestAnimationFrame(step);";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn large_traces() {
    let Some((_alone, filled, browser)) = beside(0).await else {
        return;
    };
    for (count, limit) in [(10_000, 1_000.0), (50_000, 5_000.0)] {
        let trace_id = Uuid::new_v4();
        large(&filled, trace_id, count).await;
        let mut times = Vec::new();
        for _ in 0..5 {
            browser.go("/ui/users").await;
            let begun = Instant::now();
            browser.go(&format!("/ui/traces/{trace_id}")).await;
            browser.until("performance.getEntriesByName('interactive').length && document.querySelector('.row .name')?.textContent").await;
            let outside = begun.elapsed().as_secs_f64() * 1e3;
            let inside = browser.js("return [performance.getEntriesByName('interactive')[0].startTime, performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0]").await;
            times.push((inside[0].as_f64().unwrap(), inside[1].as_f64().unwrap(), outside));
        }
        times.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (interactive, paint, outside) = times[times.len() / 2];
        browser.press("jjjje").await;
        browser.until("document.querySelector('.row.chosen.failed')").await;
        let frames = browser.client.execute_async(SCROLL, vec![]).await.unwrap();
        let frame = |share: f64| {
            let frames: &Vec<Value> = frames.as_array().unwrap();
            frames[((frames.len() - 1) as f64 * share) as usize].as_f64().unwrap()
        };
        println!(
            "{count} spans: first paint {paint:.0} ms, interactive {interactive:.0} ms ({outside:.0} ms seen from outside); \
             frames while scrolling: half under {:.1} ms, 95 in 100 under {:.1} ms, the longest {:.1} ms",
            frame(0.5),
            frame(0.95),
            frame(1.0)
        );
        browser.screenshot(&format!("large-{count}")).await;
        assert!(interactive < limit && frame(0.95) < 34.0);
    }
    browser.close().await;
}
