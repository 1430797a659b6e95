//! What a vendor demands of a request beyond its schema: which call is answered where, what goes together with thinking,
//! which fields must be there. A simulated vendor asks here what the real one would refuse.
//!
//! Nothing in the product depends on it: it reads a finished request from the outside, so that the translators can be held
//! against rules that they don't share. Sources: docs.anthropic.com/en/api/messages, …/build-with-claude/tool-use and
//! …/extended-thinking; platform.openai.com/docs/api-reference/chat/create and …/guides/function-calling, read in November
//! 2026.

use super::Dialect;
use crate::json::{Kind, Scratch, Value, scan};

/// What a vendor of this dialect would refuse a request for, in its order; nothing if it would take it. The request's
/// schema isn't looked at: what has another type than it should is not seen.
pub fn broken_rules(vendor: Dialect, request: &[u8]) -> Vec<String> {
    let mut scratch = Scratch::default();
    let mut broken = Vec::new();
    match scan(request, &mut scratch) {
        Ok(request) => match vendor {
            Dialect::OpenAi => check_openai(request.value(), &mut broken),
            Dialect::Anthropic => check_anthropic(request.value(), &mut broken),
        },
        Err(fault) => broken.push(format!("not JSON: {:?}", fault.problem)),
    }
    broken
}

/// A text of a field, empty where there is none.
fn text(value: Value<'_>, name: &str) -> String {
    value.get(name).and_then(Value::to_str).unwrap_or_default().into_owned()
}

/// The items of a field, none where it is no list.
fn items<'a>(value: Value<'a>, name: &str) -> impl Iterator<Item = Value<'a>> {
    value.get(name).into_iter().flat_map(Value::items)
}

fn check_anthropic(request: Value<'_>, broken: &mut Vec<String>) {
    let max_tokens = request.get("max_tokens").and_then(Value::to_u64);
    if max_tokens.is_none_or(|tokens| tokens == 0) {
        broken.push("max_tokens: required".to_owned());
    }
    let messages: Vec<Value<'_>> = items(request, "messages").collect();
    if messages.first().is_none_or(|first| text(*first, "role") != "user") {
        broken.push("messages: the first one must be the user's".to_owned());
    }
    let mut open: Vec<String> = Vec::new();
    let mut uses_tools = false;
    for (nth, message) in messages.iter().enumerate() {
        uses_tools |= check_blocks(*message, nth, &mut open, broken);
    }
    if !open.is_empty() {
        broken.push(format!("messages: no tool_result for {}", open.join(", ")));
    }
    let names: Vec<String> = items(request, "tools").map(|tool| text(tool, "name")).collect();
    if uses_tools && names.is_empty() {
        broken.push("tools: required where the messages use tools".to_owned());
    }
    let choice = request.get("tool_choice");
    if choice.is_some() && names.is_empty() {
        broken.push("tool_choice: only with tools".to_owned());
    }
    let kind = choice.map(|choice| text(choice, "type")).unwrap_or_default();
    if kind == "tool" && choice.is_some_and(|choice| !names.contains(&text(choice, "name"))) {
        broken.push("tool_choice: names no tool".to_owned());
    }
    for stop in items(request, "stop_sequences") {
        if stop.to_str().is_some_and(|stop| stop.trim().is_empty()) {
            broken.push("stop_sequences: white space only".to_owned());
        }
    }
    check_sampling(request, broken);
    check_thinking(request, &messages, max_tokens.unwrap_or_default(), &kind, broken);
}

/// The blocks of one message, in which `open` calls have to be answered first; whether any of them is about tools.
fn check_blocks(message: Value<'_>, nth: usize, open: &mut Vec<String>, broken: &mut Vec<String>) -> bool {
    let Some(content) = message.get("content") else { return false };
    if content.kind() == Kind::String {
        if content.is("") {
            broken.push(format!("messages[{nth}]: empty"));
        }
        if !open.is_empty() {
            broken.push(format!("messages[{nth}]: no tool_result for {}", open.join(", ")));
            open.clear();
        }
        return false;
    }
    let (mut uses_tools, mut said_else) = (false, false);
    let mut calls = Vec::new();
    for block in content.items() {
        match text(block, "type").as_str() {
            "tool_result" => {
                uses_tools = true;
                let id = text(block, "tool_use_id");
                match open.iter().position(|open| *open == id) {
                    Some(nth) => drop(open.remove(nth)),
                    None => broken.push(format!("messages[{nth}]: {id} answers no call of the message before")),
                }
                if said_else {
                    broken.push(format!("messages[{nth}]: tool_result must come first"));
                }
            }
            "tool_use" => {
                uses_tools = true;
                let id = text(block, "id");
                if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
                    broken.push(format!("messages[{nth}]: {id} is no id"));
                }
                if calls.contains(&id) {
                    broken.push(format!("messages[{nth}]: {id} stands twice"));
                }
                calls.push(id);
            }
            "text" => {
                said_else = true;
                if text(block, "text").trim().is_empty() {
                    broken.push(format!("messages[{nth}]: text that says nothing"));
                }
            }
            _ => said_else = true,
        }
    }
    if content.items().next().is_none() {
        broken.push(format!("messages[{nth}]: empty"));
    }
    if !open.is_empty() {
        broken.push(format!("messages[{nth}]: no tool_result for {}", open.join(", ")));
    }
    *open = calls;
    uses_tools
}

fn check_sampling(request: Value<'_>, broken: &mut Vec<String>) {
    for name in ["temperature", "top_p"] {
        let number = request.get(name).and_then(Value::to_f64);
        if number.is_some_and(|number| !(0.0..=1.0).contains(&number)) {
            broken.push(format!("{name}: from 0 to 1"));
        }
    }
}

fn check_thinking(request: Value<'_>, messages: &[Value<'_>], max_tokens: u64, choice: &str, broken: &mut Vec<String>) {
    let Some(thinking) = request.get("thinking").filter(|thinking| text(*thinking, "type") == "enabled") else {
        return;
    };
    let budget = thinking.get("budget_tokens").and_then(Value::to_u64).unwrap_or_default();
    if budget < 1_024 || budget >= max_tokens {
        broken.push("thinking.budget_tokens: at least 1,024 and less than max_tokens".to_owned());
    }
    if matches!(choice, "any" | "tool") {
        broken.push("tool_choice: may not force a tool with thinking".to_owned());
    }
    if request.get("temperature").and_then(Value::to_f64).is_some_and(|temperature| temperature != 1.0) {
        broken.push("temperature: 1 with thinking".to_owned());
    }
    if request.get("top_k").is_some() {
        broken.push("top_k: not with thinking".to_owned());
    }
    // In a round of tools, what the model thought has to stand before its calls.
    let first = |message: &Value<'_>| items(*message, "content").next().map(|block| text(block, "type"));
    if let [.., calls, answers] = messages
        && first(answers).as_deref() == Some("tool_result")
        && !matches!(first(calls).as_deref(), Some("thinking" | "redacted_thinking"))
    {
        broken.push("messages: the turn that called the tools must begin with its thinking".to_owned());
    }
    if messages.last().is_some_and(|last| text(*last, "role") == "assistant") {
        broken.push("messages: with thinking, the last one must be the user's".to_owned());
    }
}

fn check_openai(request: Value<'_>, broken: &mut Vec<String>) {
    let messages: Vec<Value<'_>> = items(request, "messages").collect();
    if messages.is_empty() {
        broken.push("messages: at least one".to_owned());
    }
    let mut open: Vec<String> = Vec::new();
    for (nth, message) in messages.iter().enumerate() {
        let role = text(*message, "role");
        if role == "tool" {
            let id = text(*message, "tool_call_id");
            match open.iter().position(|open| *open == id) {
                Some(nth) => drop(open.remove(nth)),
                None => broken.push(format!("messages[{nth}]: {id} answers no call of the message before")),
            }
            continue;
        }
        if !open.is_empty() {
            broken.push(format!("messages[{nth}]: no answer to {}", open.join(", ")));
        }
        open.clear();
        for call in items(*message, "tool_calls") {
            open.push(text(call, "id"));
            let arguments = call.path(&["function", "arguments"]).and_then(Value::to_str).unwrap_or_default();
            if scan(arguments.as_bytes(), &mut Scratch::default()).is_err() {
                broken.push(format!("messages[{nth}]: arguments that are no JSON object"));
            }
        }
        let says = message.get("content").is_some_and(|content| !content.is_null()) || !open.is_empty();
        if !says {
            broken.push(format!("messages[{nth}]: neither content nor tool_calls"));
        }
    }
    if !open.is_empty() {
        broken.push(format!("messages: no answer to {}", open.join(", ")));
    }
    let names: Vec<String> = items(request, "tools")
        .map(|tool| tool.path(&["function", "name"]).and_then(Value::to_str).unwrap_or_default().into_owned())
        .collect();
    if names.iter().any(|name| name.is_empty() || name.len() > 64) {
        broken.push("tools: names of 1 to 64 characters".to_owned());
    }
    let choice = request.get("tool_choice");
    if (choice.is_some() || request.get("parallel_tool_calls").is_some()) && names.is_empty() {
        broken.push("tool_choice: only with tools".to_owned());
    }
    let named = choice.and_then(|choice| choice.path(&["function", "name"])).and_then(Value::to_str);
    if named.is_some_and(|name| !names.iter().any(|each| *each == *name)) {
        broken.push("tool_choice: names no tool".to_owned());
    }
    if items(request, "stop").count() > 4 {
        broken.push("stop: at most 4".to_owned());
    }
    if request.get("max_tokens").is_some() && request.get("max_completion_tokens").is_some() {
        broken.push("max_tokens: not with max_completion_tokens".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request, and a piece of what is broken in it; nothing where it is good.
    const ANTHROPIC: &[(&str, &str)] = &[
        (r#"{"max_tokens":5,"messages":[{"role":"user","content":"a"}]}"#, ""),
        (r#"{"messages":[{"role":"user","content":"a"}]}"#, "max_tokens: required"),
        (r#"{"max_tokens":5,"messages":[{"role":"assistant","content":"a"}]}"#, "the first one"),
        (
            r#"{"max_tokens":5,"tools":[{"name":"f"}],"messages":[{"role":"user","content":"a"},
                {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"1"},{"type":"text","text":"b"}]}]}"#,
            "",
        ),
        (
            r#"{"max_tokens":5,"messages":[{"role":"user","content":"a"},
                {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]}"#,
            "tools: required",
        ),
        (
            r#"{"max_tokens":5,"tools":[{"name":"f"}],"messages":[{"role":"user","content":"a"},
                {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},
                {"role":"user","content":"b"}]}"#,
            "no tool_result for 1",
        ),
        (
            r#"{"max_tokens":5,"tools":[{"name":"f"}],"messages":[{"role":"user","content":"a"},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]}"#,
            "answers no call",
        ),
        (
            r#"{"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":2000},"messages":[{"role":"user","content":"a"}]}"#,
            "budget_tokens",
        ),
        (
            r#"{"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1024},"tools":[{"name":"f"}],
                "messages":[{"role":"user","content":"a"},
                {"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]}"#,
            "begin with its thinking",
        ),
        (
            r#"{"max_tokens":5,"tool_choice":{"type":"auto"},"messages":[{"role":"user","content":"a"}]}"#,
            "only with tools",
        ),
        (r#"{"max_tokens":5,"temperature":1.5,"messages":[{"role":"user","content":"a"}]}"#, "from 0 to 1"),
        ("[", "not JSON"),
    ];

    const OPENAI: &[(&str, &str)] = &[
        (r#"{"messages":[{"role":"user","content":"a"}]}"#, ""),
        (r#"{"messages":[]}"#, "at least one"),
        (
            r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},
                {"role":"tool","tool_call_id":"1","content":""}]}"#,
            "",
        ),
        (
            r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{"}}]},
                {"role":"tool","tool_call_id":"1","content":""}]}"#,
            "no JSON object",
        ),
        (
            r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},
                {"role":"user","content":"b"}]}"#,
            "no answer to 1",
        ),
        (r#"{"messages":[{"role":"tool","tool_call_id":"1","content":""}]}"#, "answers no call"),
        (r#"{"messages":[{"role":"assistant","content":null}]}"#, "neither content nor tool_calls"),
        (r#"{"messages":[{"role":"user","content":"a"}],"tool_choice":"auto"}"#, "only with tools"),
        (r#"{"messages":[{"role":"user","content":"a"}],"stop":["1","2","3","4","5"]}"#, "at most 4"),
    ];

    #[test]
    fn what_a_vendor_would_refuse_is_found() {
        for (vendor, cases) in [(Dialect::Anthropic, ANTHROPIC), (Dialect::OpenAi, OPENAI)] {
            for (request, wanted) in cases {
                let broken = broken_rules(vendor, request.as_bytes());
                let found = broken.iter().any(|rule| rule.contains(wanted));
                assert!(if wanted.is_empty() { broken.is_empty() } else { found }, "{request}: {broken:?}");
            }
        }
    }
}
