//! What an event of a streamed answer says: its texts, each in the lane that it goes on in, and the lanes that end.
//!
//! A stream says several things side by side (what is said, what is thought, what a tool is given; each of several
//! choices), and the pieces of one lie between those of others. Which lane a piece is of is told by the name of its field
//! and the indices of the objects around it, which all vendors count alike.

use crate::json::{Kind, Value};

/// One thing that an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'d> {
    /// More of a lane.
    Text {
        /// Which lane.
        lane: Place,
        /// The choice or block that the lane is of.
        of: Place,
        /// Where `inside` starts in the event's data.
        at: usize,
        /// What stands between the quotes.
        inside: &'d [u8],
    },
    /// Nothing more comes of this choice or block; of none in particular, if it has no index.
    End {
        /// Which.
        of: Place,
    },
}

/// Where something is, as the indices around it tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u64);

/// Names of the fields that say something, in the languages of all vendors.
const SAYING: [&str; 11] = [
    "content",
    "text",
    "refusal",
    "delta",
    "output_text",
    "thinking",
    "reasoning_content",
    "reasoning",
    "arguments",
    "partial_json",
    "input",
];

/// Names of the fields that count choices, blocks and calls.
const INDICES: [&str; 4] = ["index", "output_index", "content_index", "summary_index"];

/// What is nested deeper is taken as if it weren't: no vendor nests like that.
const DEPTH_MAX: u32 = 32;

/// Calls `say` with everything that an event's data says, in its order.
pub(super) fn each_said<'d>(data: Value<'d>, say: &mut impl FnMut(Said<'d>)) {
    walk(data, Walk::default(), say);
}

/// Whether a field of this name says something.
pub(super) fn is_saying(name: &[u8]) -> bool {
    SAYING.iter().any(|saying| saying.as_bytes() == name)
}

#[derive(Clone, Copy, Default)]
struct Walk {
    place: Place,
    /// The place of the outermost object with an index.
    of: Place,
    depth: u32,
}

fn walk<'d>(value: Value<'d>, mut here: Walk, say: &mut impl FnMut(Said<'d>)) {
    if here.depth > DEPTH_MAX {
        return value.strings().for_each(|string| text(string, here, "", say));
    }
    here.depth += 1;
    match value.kind() {
        Kind::Object => {
            for (name, number) in value.fields() {
                if number.kind() == Kind::Number && INDICES.iter().any(|index| name.is(index)) {
                    here.place = here.place.within(number.raw());
                }
            }
            if here.of == Place::default() {
                here.of = here.place;
            }
            let mut ends = false;
            for (name, value) in value.fields() {
                match value.kind() {
                    Kind::String => {
                        if let Some(name) = SAYING.iter().find(|saying| name.is(saying)) {
                            text(value, here, name, say);
                        }
                        ends |= tells_end(name, value);
                    }
                    Kind::Object | Kind::Array => walk(value, here, say),
                    Kind::Number | Kind::Bool | Kind::Null => {}
                }
            }
            if ends {
                say(Said::End { of: here.of });
            }
        }
        Kind::Array => value.items().for_each(|item| walk(item, here, say)),
        Kind::String | Kind::Number | Kind::Bool | Kind::Null => {}
    }
}

fn text<'d>(string: Value<'d>, here: Walk, name: &str, say: &mut impl FnMut(Said<'d>)) {
    if let [b'"', inside @ .., b'"'] = string.raw() {
        let lane = here.place.within(name.as_bytes());
        say(Said::Text { lane, of: here.of, at: string.span().start as usize + 1, inside });
    }
}

/// Whether a field says that something is over: a choice's reason, a block's stop, the last word on a part.
fn tells_end(name: Value<'_>, value: Value<'_>) -> bool {
    name.is("finish_reason")
        || name.is("stop_reason")
        || (name.is("type") && (value.is("content_block_stop") || value.raw().ends_with(b".done\"")))
}

impl Place {
    /// FNV-1a over all that leads here; a mark ends each step.
    fn within(self, step: &[u8]) -> Self {
        let before = if self.0 == 0 { 0xcbf2_9ce4_8422_2325 } else { self.0 };
        let steps = step.iter().chain(b"/");
        Self(steps.fold(before, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Span;

    /// Texts by lane, with `.` where the lane's choice or block ends; lanes in the order in which they begin.
    fn heard(events: &[&str]) -> Vec<String> {
        let mut lanes: Vec<(Place, Place, String)> = Vec::new();
        for event in events {
            each_said(Value::at(event.as_bytes(), Span::new(0, event.len())), &mut |said| match said {
                Said::Text { lane, of, at, inside } => {
                    assert_eq!(&event.as_bytes()[at..at + inside.len()], inside);
                    let inside = String::from_utf8_lossy(inside);
                    match lanes.iter_mut().find(|(known, ..)| *known == lane) {
                        Some((.., text)) => text.push_str(&inside),
                        None => lanes.push((lane, of, inside.into_owned())),
                    }
                }
                Said::End { of: ended } => {
                    let all = ended == Place::default();
                    lanes.iter_mut().filter(|(_, of, _)| all || *of == ended).for_each(|(.., text)| text.push('.'));
                }
            });
        }
        lanes.into_iter().map(|(.., text)| text).collect()
    }

    #[test]
    fn pieces_go_on_in_their_own_lane() {
        let chat = [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}},{"index":1,"delta":{"content":"x"}}]}"#,
            r#"{"choices":[{"delta":{"content":"b"},"index":0}]}"#,
            r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{1"}},
                {"index":1,"function":{"name":"f","arguments":"{2"}}]}}]}"#,
            r#"{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"index":1,"delta":{"content":null},"finish_reason":null}]}"#,
        ];
        assert_eq!(heard(&chat), ["ab.", "x", "{1}", "{2"]);
        let messages = [
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"c"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        ];
        assert_eq!(heard(&messages), ["ab..", "c."]);
        let responses = [
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":"b"}"#,
            r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"a"}"#,
        ];
        assert_eq!(heard(&responses), ["a.", "b", "a."]);
    }

    #[test]
    fn nothing_is_too_deep_to_be_heard_and_nothing_broken_panics() {
        let deep = format!("{}{{\"content\":\"a\"}}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(heard(&[&deep]), ["a"]);
        for broken in ["", "{", "[{\"content\":", "{\"content\":\"a", "{\"index\":{\"content\":[}", "\"content\""] {
            heard(&[broken]);
        }
    }
}
