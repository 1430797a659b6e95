//! What is seen of recorded answers that pass as they are.

use kt_core::dialect::{Dialect, Look, usage};
use kt_core::json::Watch;
use kt_core::sse::{Splitter, events};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::{cut, data_of, endpoint, files, is, is_good, last_usage, name, records, usage_of};

const VENDORS: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

#[test]
fn the_last_usage_seen_in_a_passing_stream_is_the_recorded_one() {
    for vendor in VENDORS {
        let (mut with_usage, mut without, mut torn) = (0, 0, 0);
        for record in records(files(vendor)).iter().filter(|record| is(record, endpoint(vendor), "sse")) {
            let stream = record.get_str("response_body").expect("a stream").as_bytes();
            let (mut last, mut content, mut model) = (None, false, None);
            let mut look = Look::new(vendor);
            for event in events(&stream[..Splitter::new().advance(stream)]) {
                let seen = look.at(&event);
                last = seen.usage.or(last);
                content |= seen.content;
                model = model.or(seen.model.map(|model| model.into_owned()));
            }
            let said = data_of(stream);
            assert_eq!(last, last_usage(vendor, &said), "{}", name(record));
            assert_eq!(look.usage().0, last.unwrap_or_default(), "{}", name(record));
            let named = said.iter().find_map(|event| {
                let named = event.get_str("model").or_else(|| event.get("message")?.get_str("model"));
                named.filter(|model| !model.is_empty())
            });
            assert_eq!(model.as_deref(), named, "{}", name(record));
            assert!(content || !said.iter().any(brings_text), "{}", name(record));
            if !look.is_finished() {
                torn += 1;
            } else if last.is_some() {
                with_usage += 1;
            } else {
                without += 1;
            }
        }
        eprintln!("streams that pass, {vendor:?}: {with_usage} with usage, {without} without, {torn} torn");
    }
}

/// Whether an event brings text, as an independent reader sees it.
fn brings_text(event: &OwnedValue) -> bool {
    let delta = event.get("delta").or_else(|| event.get("choices")?.get_idx(0)?.get("delta"));
    delta
        .is_some_and(|delta| ["content", "text"].iter().any(|name| delta.get_str(*name).is_some_and(|s| !s.is_empty())))
}

#[test]
fn the_usage_watched_in_a_passing_answer_is_the_recorded_one() {
    let mut dice = fastrand::Rng::with_seed(7);
    for vendor in VENDORS {
        let mut seen = 0;
        for record in records(files(vendor)).iter().filter(|record| is(record, endpoint(vendor), "json")) {
            let body = record.get("response_body").expect("a body");
            let text = body.encode();
            let mut watch = Watch::new(&["usage", "model"], 4_096);
            for piece in cut(text.as_bytes(), &mut dice) {
                watch.push(piece);
            }
            let recorded = body.get("usage").filter(|usage| usage.is_object()).map(|usage| usage_of(vendor, usage));
            let watched = watch.captured("usage").and_then(|object| usage(vendor, object));
            assert_eq!(watched, recorded, "{}", name(record));
            assert!(watched.is_some() || !is_good(record) || body.get("usage").is_none(), "{}", name(record));
            seen += usize::from(watched.is_some());
        }
        eprintln!("whole answers that pass, {vendor:?}: {seen} with usage");
    }
}
