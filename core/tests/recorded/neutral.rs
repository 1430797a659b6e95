//! Requests and answers of either language, reduced to what they say: the oracle that translations are held against. It
//! shares nothing with the product, and knows only what recorded traffic has.

use kt_core::dialect::Dialect;
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::parsed;

/// What a request says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Request {
    pub(crate) system: Vec<String>,
    pub(crate) turns: Vec<(String, Vec<Item>)>,
    pub(crate) tools: Vec<Tool>,
    /// `auto`, `none`, `any` or a name.
    pub(crate) choice: String,
    pub(crate) parallel: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) user: Option<String>,
    pub(crate) stream: bool,
}

/// Name, description and schema of a tool.
pub(crate) type Tool = (String, String, OwnedValue);

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Text(String),
    /// Where the picture or file is: its URL, or its data in base 64.
    Media(String),
    Call(String, String, OwnedValue),
    Result(String, String),
}

pub(crate) fn request(dialect: Dialect, body: &OwnedValue) -> Request {
    match dialect {
        Dialect::OpenAi => openai(body),
        Dialect::Anthropic => anthropic(body),
    }
}

/// A field as text, empty where there is none.
fn field(value: &OwnedValue, name: &str) -> String {
    value.get_str(name).unwrap_or_default().to_owned()
}

/// The items of a field, none where it is no list.
fn items<'v>(value: &'v OwnedValue, name: &str) -> impl Iterator<Item = &'v OwnedValue> {
    value.get_array(name).into_iter().flatten()
}

/// A text, or the texts of a list of parts.
fn texts(content: Option<&OwnedValue>) -> Vec<String> {
    let parts = content.and_then(|content| content.as_array()).into_iter().flatten();
    let parts = parts.filter_map(|part| part.get_str("text").or_else(|| part.get_str("refusal")));
    let whole = content.and_then(|content| content.as_str());
    whole.into_iter().chain(parts).filter(|text| !text.trim().is_empty()).map(str::to_owned).collect()
}

/// What stands behind the comma of a `data:` URL; other URLs as they are.
fn media(url: &str) -> String {
    url.split_once(";base64,").map_or(url, |(_, data)| data).to_owned()
}

/// Schemas say that they are objects, whether or not it is written.
fn schema_of(schema: Option<&OwnedValue>) -> OwnedValue {
    let mut schema = schema.filter(|schema| schema.is_object()).cloned().unwrap_or_else(OwnedValue::object);
    if schema.get("type").is_none() {
        schema.try_insert("type", "object");
    }
    if schema.get_object("properties").is_some_and(|properties| properties.is_empty()) {
        schema.try_remove("properties");
    }
    schema
}

fn openai(body: &OwnedValue) -> Request {
    let mut said = Request { parallel: true, ..Request::default() };
    for message in items(body, "messages") {
        let role = field(message, "role");
        let content = message.get("content");
        if role == "system" || role == "developer" {
            said.system.extend(texts(content));
            continue;
        }
        if role == "tool" {
            let result = Item::Result(field(message, "tool_call_id"), texts(content).concat());
            match said.turns.last_mut().filter(|(_, turn)| turn.iter().all(|item| matches!(item, Item::Result(..)))) {
                Some((_, turn)) => turn.push(result),
                None => said.turns.push(("user".to_owned(), vec![result])),
            }
            continue;
        }
        let mut turn: Vec<Item> = Vec::new();
        if content.is_some_and(|content| content.is_str()) {
            turn.extend(texts(content).into_iter().map(Item::Text));
        }
        for part in items(message, "content") {
            let of = |name: &str, inner: &str| {
                let field = part.get(name);
                let text = field.and_then(|part| part.get_str(inner).or_else(|| part.as_str()));
                text.unwrap_or_default().to_owned()
            };
            turn.extend(match part.get_str("type") {
                Some("image_url") => Some(Item::Media(media(&of("image_url", "url")))),
                Some("file") => Some(Item::Media(media(&of("file", "file_data")))),
                _ => {
                    part.get_str("text").filter(|text| !text.trim().is_empty()).map(|text| Item::Text(text.to_owned()))
                }
            });
        }
        turn.extend(message.get_str("refusal").map(|text| Item::Text(text.to_owned())));
        for call in items(message, "tool_calls") {
            let function = call.get("function").expect("a function");
            let arguments = field(function, "arguments");
            let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
            turn.push(Item::Call(field(call, "id"), field(function, "name"), parsed(arguments.as_bytes())));
        }
        push(&mut said, &role, turn);
    }
    for tool in items(body, "tools") {
        let function = tool.get("function").expect("a function");
        said.tools.push((
            field(function, "name"),
            field(function, "description"),
            schema_of(function.get("parameters")),
        ));
    }
    said.choice = match body.get("tool_choice") {
        Some(choice) if choice.as_str() == Some("required") => "any".to_owned(),
        Some(choice) if choice.is_str() => choice.as_str().unwrap_or_default().to_owned(),
        Some(choice) => choice.get("function").map(|function| field(function, "name")).unwrap_or_default(),
        None => "auto".to_owned(),
    };
    said.parallel = body.get_bool("parallel_tool_calls").unwrap_or(true);
    let stop = body.get("stop").and_then(|stop| stop.as_str()).into_iter().map(str::to_owned);
    said.stop = stop.chain(items(body, "stop").filter_map(|stop| stop.as_str()).map(str::to_owned)).collect();
    said.max_tokens = body.get_u64("max_completion_tokens").or_else(|| body.get_u64("max_tokens"));
    said.user = body.get_str("user").map(str::to_owned);
    settings(body, &mut said);
    said
}

fn anthropic(body: &OwnedValue) -> Request {
    let mut said = Request { parallel: true, system: texts(body.get("system")), ..Request::default() };
    for message in items(body, "messages") {
        let content = message.get("content");
        let mut turn: Vec<Item> = Vec::new();
        if content.is_some_and(|content| content.is_str()) {
            turn.extend(texts(content).into_iter().map(Item::Text));
        }
        for block in items(message, "content") {
            turn.extend(match block.get_str("type") {
                Some("image" | "document") => {
                    let source = block.get("source").expect("a source");
                    let data = source.get_str("data").or_else(|| source.get_str("url"));
                    data.map(|data| Item::Media(data.to_owned()))
                }
                Some("tool_use") => {
                    let input = block.get("input").cloned().unwrap_or_default();
                    Some(Item::Call(field(block, "id"), field(block, "name"), input))
                }
                Some("tool_result") => {
                    Some(Item::Result(field(block, "tool_use_id"), texts(block.get("content")).concat()))
                }
                Some("text") => {
                    let text = field(block, "text");
                    (!text.trim().is_empty()).then_some(Item::Text(text))
                }
                _ => None,
            });
        }
        push(&mut said, &field(message, "role"), turn);
    }
    for tool in items(body, "tools") {
        said.tools.push((field(tool, "name"), field(tool, "description"), schema_of(tool.get("input_schema"))));
    }
    let choice = body.get("tool_choice");
    said.choice = match choice.and_then(|choice| choice.get_str("type")) {
        Some("tool") => choice.map(|choice| field(choice, "name")).unwrap_or_default(),
        Some(word) => word.to_owned(),
        None => "auto".to_owned(),
    };
    said.parallel = !choice.and_then(|choice| choice.get_bool("disable_parallel_tool_use")).unwrap_or(false);
    said.stop = items(body, "stop_sequences").filter_map(|stop| stop.as_str()).map(str::to_owned).collect();
    said.max_tokens = body.get_u64("max_tokens");
    said.user = body.get("metadata").and_then(|metadata| metadata.get_str("user_id")).map(str::to_owned);
    settings(body, &mut said);
    said
}

/// What has the same name on both sides.
fn settings(body: &OwnedValue, said: &mut Request) {
    // 1 is what the API does anyway.
    let number = |name: &str| body.get(name).and_then(|number| number.cast_f64()).filter(|&number| number != 1.0);
    (said.temperature, said.top_p) = (number("temperature"), number("top_p"));
    said.stream = body.get_bool("stream").unwrap_or(false);
}

/// A turn that says nothing is none; what the user says behind tools' answers is one turn with them.
fn push(said: &mut Request, role: &str, mut turn: Vec<Item>) {
    if turn.is_empty() {
        return;
    }
    let answers = |turn: &[Item]| turn.iter().all(|item| matches!(item, Item::Result(..)));
    match said.turns.last_mut() {
        Some((_, last)) if role == "user" && answers(last) => last.append(&mut turn),
        _ => said.turns.push((role.to_owned(), turn)),
    }
}

/// Why an answer ended: `said`, `cut`, `tool` or `refused`.
pub(crate) fn finish(dialect: Dialect, answer: &OwnedValue) -> &'static str {
    let word = match dialect {
        Dialect::OpenAi => {
            let choice = answer.get("choices").and_then(|choices| choices.get_idx(0));
            let message = choice.and_then(|choice| choice.get("message"));
            if message.is_some_and(|message| items(message, "tool_calls").next().is_some()) {
                return "tool";
            }
            if message.is_some_and(|message| message.get_str("refusal").is_some_and(|why| !why.is_empty())) {
                return "refused";
            }
            choice.map(|choice| field(choice, "finish_reason"))
        }
        Dialect::Anthropic => Some(field(answer, "stop_reason")),
    };
    match word.unwrap_or_default().as_str() {
        "stop" | "end_turn" | "stop_sequence" | "pause_turn" => "said",
        "length" | "max_tokens" | "model_context_window_exceeded" => "cut",
        "tool_calls" | "function_call" | "tool_use" => "tool",
        "content_filter" | "refusal" => "refused",
        other => panic!("no class for {other:?}"),
    }
}
