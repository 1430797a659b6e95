//! What streams that wait hold of memory, and that it is given back when they have gone.

use crate::harness::{
    Client, Config, Gate, Gateway, Vendor, chat, chat_of, eventually, on_each_driver, openai, openai_events,
    openai_stream_behind,
};

const STREAMED: &str = r#","stream":true,"stream_options":{"include_usage":true}"#;
const STREAMS: usize = 400;

/// A stream that has begun holds neither the room its request came in nor what its events are read into. Without that it
/// took 30 KiB; an optimised build has it at two thirds of what is allowed here.
const EACH_BYTES: usize = 16 * 1024;

#[test]
fn streams_that_wait_hold_little_and_leave_nothing() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let script = openai_stream_behind(&gate);
        let vendor = Vendor::start(move |asked| if asked.wants_stream() { script.clone() } else { openai(asked) });
        let gateway = Gateway::with(Config::openai(&vendor, "", "")).driver(driver).start();
        gateway.client().ask(chat("chat")).openai_completion();
        let idle = gateway.anonymous_bytes();
        let mut clients: Vec<Client> = (0..STREAMS).map(|_| gateway.client()).collect();
        // One after another: all that begins at once holds more than what waits, and leaves holes.
        for client in &mut clients {
            client.send(chat_of("chat", STREAMED));
            client.wait_for(" there");
        }
        let grown = eventually("streams that wait to hold little", || {
            let grown = gateway.anonymous_bytes().saturating_sub(idle);
            (grown < STREAMS * EACH_BYTES).then_some(grown)
        });

        gate.open();
        for client in &mut clients {
            assert_eq!(client.answer().whole(200).text(), openai_events(true).concat());
        }
        drop((clients, vendor));
        // Some buffers are kept for those to come.
        let kept = 512 * 1024;
        eventually("what the streams held to be given back", || {
            (gateway.anonymous_bytes() < idle + kept + grown * 2 / 3).then_some(())
        });
        assert!(gateway.stop().len() == STREAMS + 1);
    });
}
