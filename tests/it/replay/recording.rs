//! What was recorded, and what it says: read here with no line of the product's own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::{env, fs};

use crate::harness::{Json, json, raw_fields, skip};

/// One recorded answer.
pub(super) struct Recording {
    /// With its number, for the corpus has the same id twice.
    pub(super) id: String,
    /// Its path.
    pub(super) endpoint: &'static str,
    pub(super) status: u16,
    pub(super) stream: bool,
    /// What was asked, as it was written; none where only the answer was recorded.
    pub(super) request: Option<String>,
    /// What was answered, as it was written.
    pub(super) body: String,
}

/// What an answer cost, as its recording says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) total: u64,
    pub(super) cached: u64,
}

/// What a model said, in nobody's language.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) text: String,
    /// What it says instead of an answer, where that has a place of its own.
    pub(super) refusal: String,
    pub(super) thoughts: String,
    /// Id, name and arguments of each.
    pub(super) calls: Vec<(String, String, String)>,
}

/// All recordings that the vendors' endpoints gave; none, and a word about it, where there is no corpus.
pub(super) fn all() -> Option<Vec<Recording>> {
    let corpus = env::var_os("KT_CORPUS").map(|corpus| PathBuf::from(corpus).join("provider-traffic"));
    let Some(corpus) = corpus.filter(|corpus| corpus.is_dir()) else {
        skip("corpus", "KT_CORPUS names no directory with provider-traffic in it");
        return None;
    };
    let mut recordings = Vec::new();
    for file in ["openai.chat", "openai-compatible.chat", "anthropic.messages", "response-only", "other-endpoints"] {
        let path = corpus.join(format!("{file}.jsonl"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        recordings.extend(text.lines().filter_map(read));
    }
    for (number, recording) in recordings.iter_mut().enumerate() {
        recording.id = format!("{number}-{}", recording.id);
    }
    assert!(recordings.len() > 100, "a corpus of {} recordings is none", recordings.len());
    Some(recordings)
}

fn read(text: &str) -> Option<Recording> {
    let line = json(text);
    let fields: HashMap<_, _> = raw_fields(text).into_iter().collect();
    let raw = |name: &str| text[fields[name].clone()].to_owned();
    // Of each, what the gateway itself wants to see.
    let (endpoint, needs) = match line.text("endpoint").as_str() {
        "chat.completions" => ("/v1/chat/completions", "messages"),
        "messages" => ("/v1/messages", "messages"),
        "messages.count_tokens" => ("/v1/messages/count_tokens", "messages"),
        "embeddings" => ("/v1/embeddings", "input"),
        "completions" => ("/v1/completions", "prompt"),
        _ => return None,
    };
    let stream = line.text("response_kind") == "sse";
    let asks = |name: &str| line.find(&format!("request_body.{name}")).is_some();
    Some(Recording {
        id: line.text("id"),
        endpoint,
        status: u16::try_from(line.count("status")).expect("an HTTP status"),
        stream,
        // Only what can be sent through the gateway: with a model (Azure's path names it).
        request: (asks(needs) && asks("model")).then(|| raw("request_body")),
        body: if stream { line.text("response_body") } else { raw("response_body") },
    })
}

impl Recording {
    /// Whether it is a conversation, which every vendor can have.
    pub(super) fn is_conversation(&self) -> bool {
        matches!(self.endpoint, "/v1/chat/completions" | "/v1/messages")
    }

    /// Whether it is in Anthropic's language.
    pub(super) fn is_anthropics(&self) -> bool {
        self.endpoint.starts_with("/v1/messages")
    }

    /// What is recorded of the request, or one that could have been answered so, asking for another model.
    pub(super) fn asking(&self, model: &str) -> String {
        match &self.request {
            Some(body) => {
                let fields = raw_fields(body);
                let (_, at) = fields.iter().find(|(name, _)| *name == "model").expect("it was looked for");
                format!("{}\"{model}\"{}", &body[..at.start], &body[at.end..])
            }
            None => self.asking_anything(model),
        }
    }

    /// A request in either language that this could have answered.
    pub(super) fn asking_anything(&self, model: &str) -> String {
        self.asking_with(model, "")
    }

    /// The same with further fields of the body.
    pub(super) fn asking_with(&self, model: &str, fields: &str) -> String {
        format!(
            r#"{{"model":"{model}","max_tokens":2000,"messages":[{{"role":"user","content":"Hi"}}],"stream":{}{fields}}}"#,
            self.stream
        )
    }

    /// The answer as it has to come where the client has not asked for the usage.
    pub(super) fn without_usage_chunk(&self) -> String {
        let ends = if self.body.contains("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
        let is_usage_chunk = |event: &&str| {
            let data = event.trim().strip_prefix("data:").filter(|data| data.trim().starts_with('{')).map(json);
            data.is_some_and(|data| {
                let usage = data.find("usage").filter(|usage| !usage.is_null(""));
                usage.is_some() && data.find("choices").is_some_and(|choices| choices.items("").is_empty())
            })
        };
        self.body.split_inclusive(ends).filter(|event| !is_usage_chunk(event)).collect()
    }

    /// The vendor's sentence about what went wrong, where it stands where its language has it.
    pub(super) fn error_message(&self) -> Option<String> {
        json(&self.body).find("error.message").and_then(|message| message.as_text())
    }

    /// Whether the vendor says that it failed, under a status that says it did not.
    pub(super) fn fails(&self) -> bool {
        let answers = if self.stream { self.events() } else { vec![json(&self.body)] };
        self.status < 400 && answers.iter().any(|answer| answer.find("error").is_some_and(|error| !error.is_null("")))
    }

    /// The data of its events, where they are JSON. The blank line behind the last one is missing here and there, and
    /// nothing of the answer with it.
    fn events(&self) -> Vec<Json> {
        events_of(&self.body)
    }

    /// What the model said; none if it is no whole answer, or says what only its own vendor's language can.
    pub(super) fn told(&self) -> Option<Told> {
        match (self.status, self.is_anthropics(), self.stream) {
            (400.., _, _) => None,
            // Only who asked with `functions` can be answered so, and here nobody does.
            (_, false, _)
                if self.body.contains("\"function_call\":{") || self.body.contains("\"function_call\": {") =>
            {
                None
            }
            (_, true, false) => Told::of_message(&json(&self.body)),
            (_, true, true) => Told::of_message_events(&self.events()),
            (_, false, false) => Told::of_completion(&json(&self.body)),
            (_, false, true) => Told::of_chunks(&self.events()),
        }
    }

    /// What it cost: the last usage that the recording says.
    pub(super) fn cost(&self) -> Option<Cost> {
        match self.endpoint {
            _ if self.status >= 400 => None,
            "/v1/messages/count_tokens" => None,
            "/v1/messages" => self.anthropic_cost(),
            _ => self.openai_cost(),
        }
    }

    fn openai_cost(&self) -> Option<Cost> {
        let answers = if self.stream { self.events() } else { vec![json(&self.body)] };
        let mut usages = answers.iter().filter_map(|answer| {
            let usage = answer.find("usage").filter(|usage| usage.find("prompt_tokens").is_some());
            usage.or_else(|| answer.find("x_groq.usage"))
        });
        let usage = usages.next_back()?;
        let count = |path: &str| usage.find(path).filter(|count| !count.is_null("")).map_or(0, |count| count.count(""));
        let details = count("prompt_tokens_details.cached_tokens");
        let own_words = count("prompt_cache_hit_tokens").max(count("cached_tokens"));
        let sum = count("prompt_tokens") + count("completion_tokens");
        Some(Cost {
            prompt: count("prompt_tokens"),
            completion: count("completion_tokens"),
            total: if count("total_tokens") > 0 { count("total_tokens") } else { sum },
            cached: if details > 0 { details } else { own_words },
        })
    }

    /// What the recording's last word on each count comes to.
    fn anthropic_cost(&self) -> Option<Cost> {
        let usages: Vec<Json> = if self.stream {
            let events = self.events();
            events.iter().filter_map(|event| event.find("message.usage").or_else(|| event.find("usage"))).collect()
        } else {
            json(&self.body).find("usage").into_iter().collect()
        };
        let last = |name: &str| {
            let mut said = usages.iter().filter_map(|usage| usage.find(name)).filter(|count| !count.is_null(""));
            said.next_back().map_or(0, |count| count.count(""))
        };
        let cached = last("cache_read_input_tokens");
        let prompt = last("input_tokens") + cached + last("cache_creation_input_tokens");
        let completion = last("output_tokens");
        (!usages.is_empty()).then_some(Cost { prompt, completion, total: prompt + completion, cached })
    }
}

/// The data of a stream's events, where they are JSON.
pub(super) fn events_of(stream: &str) -> Vec<Json> {
    let stream = stream.replace("\r\n", "\n");
    let mut events = Vec::new();
    for event in stream.split("\n\n") {
        let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
        let data = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        if data.starts_with('{') {
            events.push(json(data));
        }
    }
    events
}

/// The text at `path`; nothing where there is none, or something else.
fn text_at(value: &Json, path: &str) -> String {
    value.find(path).and_then(|text| text.as_text()).unwrap_or_default()
}

impl Told {
    pub(super) fn of_message(message: &Json) -> Option<Self> {
        let mut told = Self::default();
        for block in message.items("content") {
            told.add_block(&block)?;
        }
        Some(told)
    }

    pub(super) fn of_message_events(events: &[Json]) -> Option<Self> {
        let mut told = Self::default();
        for event in events {
            match event.text("type").as_str() {
                "content_block_start" => told.add_block(&event.at("content_block"))?,
                "content_block_delta" => match event.text("delta.type").as_str() {
                    "text_delta" => told.text += &event.text("delta.text"),
                    "thinking_delta" => told.thoughts += &event.text("delta.thinking"),
                    "input_json_delta" => told.calls.last_mut()?.2 += &event.text("delta.partial_json"),
                    "signature_delta" => {}
                    _ => return None,
                },
                "error" => return None,
                "message_stop" => return Some(told),
                _ => {}
            }
        }
        None
    }

    fn add_block(&mut self, block: &Json) -> Option<()> {
        match block.text("type").as_str() {
            "text" if block.find("citations").is_none_or(|citations| citations.is_null("")) => {
                self.text += &block.text("text");
            }
            "thinking" => self.thoughts += &block.text("thinking"),
            "redacted_thinking" => {}
            "tool_use" => {
                let input = block.at("input");
                // A stream begins with an empty one, and its deltas follow.
                let arguments = if input.names().is_empty() { String::new() } else { format!("{input:?}") };
                self.calls.push((block.text("id"), block.text("name"), arguments));
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn of_completion(completion: &Json) -> Option<Self> {
        let [choice] = &completion.find("choices")?.items("")[..] else { return None };
        let mut told = Self::default();
        choice.find("finish_reason")?.as_text().filter(|reason| !reason.is_empty())?;
        told.add_message(&choice.find("message")?)?;
        Some(told)
    }

    pub(super) fn of_chunks(events: &[Json]) -> Option<Self> {
        let (mut told, mut finished) = (Self::default(), false);
        for event in events {
            if event.find("error").is_some() {
                return None;
            }
            for choice in event.find("choices").map(|choices| choices.items("")).unwrap_or_default() {
                if choice.find("index").is_some_and(|index| index.count("") != 0) {
                    return None;
                }
                finished |= choice.find("finish_reason").is_some_and(|reason| !reason.is_null(""));
                told.add_message(&choice.find("delta")?)?;
            }
        }
        finished.then_some(told)
    }

    fn add_message(&mut self, message: &Json) -> Option<()> {
        match message.find("content") {
            Some(content) if content.as_text().is_some() => self.text += &content.text(""),
            Some(content) if !content.is_null("") => {
                for part in content.items("") {
                    match part.text("type").as_str() {
                        "text" => self.text += &part.text("text"),
                        _ => return None,
                    }
                }
            }
            Some(_) | None => {}
        }
        self.refusal += &text_at(message, "refusal");
        let thoughts = text_at(message, "reasoning_content");
        self.thoughts += &if thoughts.is_empty() { text_at(message, "reasoning") } else { thoughts };
        let calls = message.find("tool_calls").filter(|calls| !calls.is_null(""));
        for (nth, call) in calls.map(|calls| calls.items("")).unwrap_or_default().iter().enumerate() {
            if call.find("custom").is_some() {
                return None;
            }
            let index = call.find("index").map_or(nth, |index| usize::try_from(index.count("")).expect("a small one"));
            if index >= self.calls.len() {
                self.calls.push(Default::default());
            }
            let (id, name, arguments) = self.calls.get_mut(index)?;
            id.push_str(&text_at(call, "id"));
            name.push_str(&text_at(call, "function.name"));
            arguments.push_str(&text_at(call, "function.arguments"));
        }
        Some(())
    }

    /// Whether `other`, which is this in another language, says the same. Arguments may be spelled in another way, a
    /// refusal stands in the text where it has no place of its own, and a call that has no id gets one.
    pub(super) fn is_told_by(&self, other: &Self) -> bool {
        let calls = self.calls.iter().zip(&other.calls);
        let text = [&*self.text, &self.refusal].concat();
        (&text, &self.thoughts, self.calls.len()) == (&other.text, &other.thoughts, other.calls.len())
            && calls.into_iter().all(|(one, two)| {
                let same_id = one.0 == two.0 || (one.0.is_empty() && !two.0.is_empty());
                same_id && one.1 == two.1 && means_the_same(&one.2, &two.2)
            })
    }
}

fn means_the_same(one: &str, two: &str) -> bool {
    let object = |text: &str| if text.trim().is_empty() { "{}".to_owned() } else { text.to_owned() };
    let (one, two) = (object(one), object(two));
    // What the tokens did not suffice for is no JSON on either side.
    one == two || (one.ends_with('}') && two.ends_with('}') && json(one) == json(two))
}
