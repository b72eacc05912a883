//! Under lints that nothing may allow, and with attributes inside of the body.
#![forbid(unreachable_code, unused_variables, unused_mut)]

#[pandaprobe::trace]
fn plain(n: u8) -> Result<u8, std::num::TryFromIntError> {
    #![expect(clippy::let_and_return, reason = "an attribute inside of the body")]
    let more = u8::try_from(u16::from(n) + 1);
    more
}

#[pandaprobe::span]
async fn later(n: u8) -> u8 {
    n
}

#[test]
fn compiles_and_runs() {
    let captured = crate::support::recorded(async || {
        assert_eq!(plain(1), Ok(2));
        later(1).await;
    });
    assert_eq!(captured.trace("plain").output, Some(2.into()));
}
