//! Writes what the targets start from into `corpus/`: the case files of `core/src/cases`, and a few texts that hold
//! one of everything. A target that gets its input in pieces gets each seed byte by byte.

use std::fs;
use std::path::Path;

use kt_fuzz::play::{answer_cases, request_cases};

const REQUEST: &str = r#"{"model":"g","messages":[{"role":"system","content":"S"},{"role":"user","content":
    [{"type":"text","text":"\u00e9\ud83d\ude00\n"}]},{"role":"assistant","content":"A"}],"max_tokens":5,"stop":["a"],
    "temperature":0.5,"top_p":1e-1,"user":"u","n":1,"stream":true,"stream_options":{"include_usage":true}}"#;

const ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"a"}],
    "stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"cache_read_input_tokens":2,"output_tokens":3}}"#;

const ERROR: &str =
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;

const OPENAI_STREAM: &str = concat!(
    ": hello\n\n",
    "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\",\"tool_calls\":[]}}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\r\n\r\n",
    "data: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":1}},\"error\":{}}\r\r",
    "data: [DONE]\n\n",
);

const ANTHROPIC_STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":1}}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "data: {\"type\":\"ping\"}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\u00e9\"}}\n\n",
    "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n",
    "data: {\"type\":\"message_stop\"}\n\n",
);

const RESPONSE_STREAM: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m\",\"usage\":null}}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\n\n",
);

fn main() {
    for (number, (_, _, text)) in request_cases().enumerate() {
        write("connection", number, true, &text);
        write("head", number, true, &text);
        let body = text.windows(11).position(|window| window == b"chunked\r\n\r\n");
        body.iter().for_each(|at| write("chunked", number, true, &text[at + 11..]));
    }
    for (number, (_, _, text)) in answer_cases().enumerate() {
        write("answer", number, true, &text);
        write("head", 10_000 + number, true, &text);
    }
    for (number, case) in include_str!("../src/cases/config/complaints.txt").split("\n=== ").enumerate() {
        let (_claim, yaml) = case.split_once('\n').unwrap_or_default();
        let yaml = yaml.split("--- complaints").next().unwrap_or_default();
        write("config", number, false, yaml.as_bytes());
    }
    write("config", 10_000, false, include_bytes!("../src/cases/config/tutorial.yaml"));
    write("witness", 10_000, false, RESPONSE_STREAM.as_bytes());
    for (number, text) in [REQUEST, ANSWER, ERROR, OPENAI_STREAM, ANTHROPIC_STREAM].into_iter().enumerate() {
        for target in ["ask", "json", "translate", "witness"] {
            write(target, number, false, text.as_bytes());
        }
        for target in ["sse", "watch"] {
            write(target, number, true, text.as_bytes());
        }
    }
}

fn write(target: &str, number: usize, in_pieces: bool, text: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder for the seeds");
    let size: &[u8] = if in_pieces { &[1] } else { &[] };
    fs::write(folder.join(format!("seed-{number:05}")), [size, text].concat()).expect("a seed");
}
