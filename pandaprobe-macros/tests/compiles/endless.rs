//! Functions that never return.
#[pandaprobe::trace]
fn gives_up(code: u8) -> ! {
    std::panic::resume_unwind(Box::new(code))
}

#[pandaprobe::span]
async fn waits() -> ! {
    loop {
        std::future::pending::<()>().await
    }
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(async || {
        assert!(std::panic::catch_unwind(|| gives_up(7)).is_err());
        drop(waits());
    });
    assert_eq!(captured.trace("gives_up").status, pandaprobe::TraceStatus::Error);
}
