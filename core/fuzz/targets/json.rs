//! What we take for JSON is JSON to simd-json and says the same there; what we refuse it refuses too, but for the
//! things that `core/src/json/mod.rs` names.
#![no_main]

use kt_core::json::{Kind, Problem, Scratch, Value, scan};
use libfuzzer_sys::fuzz_target;
use simd_json::prelude::*;
use simd_json::{BorrowedValue, StaticNode};

fuzz_target!(|text: &[u8]| {
    let mut copy = text.to_vec();
    let theirs = simd_json::to_borrowed_value(&mut copy);
    match (scan(text, &mut Scratch::default()), theirs) {
        (Ok(ours), Ok(theirs)) => same(ours.value(), &theirs),
        (Ok(ours), Err(_)) => assert!(holds_number_out_of_range(ours.value())),
        (Err(fault), Ok(theirs)) => {
            assert!(!matches!(fault.problem, Problem::Malformed { .. }) || !theirs.is_object(), "{fault}");
        }
        (Err(_), Err(_)) => {}
    }
});

fn same(ours: Value<'_>, theirs: &BorrowedValue<'_>) {
    match theirs {
        BorrowedValue::Object(fields) => {
            assert_eq!(ours.fields().count(), fields.len());
            for (name, value) in ours.fields() {
                same(value, &fields[&*name.to_str().expect("a name is a string")]);
            }
        }
        BorrowedValue::Array(items) => {
            assert_eq!(ours.items().count(), items.len());
            ours.items().zip(items.iter()).for_each(|(ours, theirs)| same(ours, theirs));
        }
        BorrowedValue::String(text) => assert!(ours.to_str().as_deref() == Some(&**text) && ours.is(text)),
        BorrowedValue::Static(StaticNode::U64(number)) => assert_eq!(ours.to_u64(), Some(*number)),
        BorrowedValue::Static(StaticNode::I64(number)) => assert_eq!(ours.to_f64(), Some(*number as f64)),
        BorrowedValue::Static(StaticNode::F64(number)) => {
            // simd-json may round the last digit in another way.
            assert!(ours.to_f64().is_some_and(|ours| (ours - number).abs() <= number.abs() * 1e-15));
        }
        BorrowedValue::Static(StaticNode::Bool(truth)) => assert_eq!(ours.to_bool(), Some(*truth)),
        BorrowedValue::Static(StaticNode::Null) => assert!(ours.is_null()),
    }
}

/// simd-json refuses numbers that its types can't hold; we pass them on.
fn holds_number_out_of_range(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Number => value.to_f64().is_none_or(|number| !(-9.2e18..=1.8e19).contains(&number)),
        Kind::Object => value.fields().any(|(_, value)| holds_number_out_of_range(value)),
        Kind::Array => value.items().any(holds_number_out_of_range),
        Kind::String | Kind::Bool | Kind::Null => false,
    }
}
