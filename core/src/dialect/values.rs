//! Values of a client's body that have to be of one kind: a fault names the field where they aren't.

use super::chat::{Effort, Literal, Number, Thinking};
use super::path::Path;
use crate::fault::Fault;
use crate::json::{Kind, Value};

/// An effort, which both vendors say in the same words.
pub(super) fn read_effort(value: Value<'_>, at: &Path<'_>) -> Result<Thinking, Fault> {
    Ok(match read_text(value, at)?.text().as_ref() {
        "none" => Thinking::Off,
        "minimal" => Thinking::Effort(Effort::Minimal),
        "low" => Thinking::Effort(Effort::Low),
        "medium" => Thinking::Effort(Effort::Medium),
        "high" => Thinking::Effort(Effort::High),
        "xhigh" => Thinking::Effort(Effort::ExtraHigh),
        "max" => Thinking::Effort(Effort::Max),
        _ => return Err(at.invalid("\"none\", \"minimal\", \"low\", \"medium\", \"high\", \"xhigh\" or \"max\"")),
    })
}

/// A number from `min` to `max`.
pub(super) fn read_number<'a>(value: Value<'a>, at: &Path<'_>, min: f64, max: f64) -> Result<Number<'a>, Fault> {
    let number = value.to_f64().filter(|number| (min..=max).contains(number));
    let value_of = number.ok_or_else(|| at.invalid(&format!("a number from {min} to {max}")))?;
    Ok(Number { raw: value.raw(), value: value_of })
}

/// A whole number above 0.
pub(super) fn read_count(value: Value<'_>, at: &Path<'_>) -> Result<u64, Fault> {
    value.to_u64().filter(|&count| count > 0).ok_or_else(|| at.invalid("a whole number above 0"))
}

/// A boolean.
pub(super) fn read_bool(value: Value<'_>, at: &Path<'_>) -> Result<bool, Fault> {
    value.to_bool().ok_or_else(|| at.invalid("true or false"))
}

/// A string.
pub(super) fn read_text<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Literal<'a>, Fault> {
    Literal::of(value).ok_or_else(|| at.invalid("text"))
}

/// An object.
pub(super) fn read_object<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Value<'a>, Fault> {
    if value.kind() == Kind::Object { Ok(value) } else { Err(at.invalid("an object")) }
}

/// A list.
pub(super) fn read_list<'a>(value: Value<'a>, at: &Path<'_>) -> Result<Value<'a>, Fault> {
    if value.kind() == Kind::Array { Ok(value) } else { Err(at.invalid("a list")) }
}
