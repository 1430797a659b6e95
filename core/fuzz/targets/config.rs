//! A check of any text comes to a config or to complaints that can be printed, and never to both or neither.
#![no_main]

use kt_core::config::plan::Plan;
use kt_core::config::{Source, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let checked = check(&[Source { name: "fuzz.yaml".to_owned(), bytes: text.to_vec() }]);
    assert_eq!(checked.file.is_some(), checked.errors().next().is_none());
    assert_eq!(checked.error_report().is_empty(), checked.file.is_some());
    let json = checked.to_json();
    simd_json::to_tape(&mut json.into_bytes()).expect("the report for programs is JSON");
    if let Some(file) = &checked.file {
        assert!(!checked.summary().is_empty());
        assert!(Plan::resolve(file, 1, None, &mut |_| None, &mut || 7).is_ok(), "without keys none is shared");
    }
});
