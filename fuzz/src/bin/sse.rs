//! The framer of server-sent events: however a stream is cut into pieces, the events are the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaprobe_wire::Exchange;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut exchange = Exchange::new("/v1/chat/completions", br#"{"model":"m","stream":true,"messages":[]}"#);
        exchange.start(200, Some("text/event-stream"));
        pieces.for_each(|piece| drop(exchange.push(piece)));
        exchange.end();
        format!("{:?}", exchange.record())
    };
    let whole = read(&mut std::iter::once(stream));
    let pieces = read(&mut stream.chunks(usize::from(*cut % 16) + 1));
    assert_eq!(whole, pieces);
});
