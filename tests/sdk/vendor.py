"""A simulated vendor that speaks both languages: OpenAI's chat completions and Anthropic's messages.

What it answers hangs on what the last user says ("Say …", "weather in …", see `reply`), so a client in any language gets
the same answer from either. It refuses whatever the real vendors refuse and a schema can't tell: tool results without
their calls, turns out of order, thinking without its signature, a missing `max_tokens`. Answers go out in random cuts.
Nothing but Python's own library.

As a program it prints its port and serves until its standard input ends.
"""

import json
import random
import re
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIGNATURE = "c2lnbmVkIGJ5IHRoZSB2ZW5kb3I="
REDACTED = "cmVkYWN0ZWQ="
# What every answer costs, in either vendor's way of counting.
FRESH, CACHED, WRITTEN, OUTPUT, THOUGHT = 25, 7, 3, 11, 4
PROMPT = FRESH + CACHED + WRITTEN


class Refused(Exception):
    """The request is one that the real vendor would refuse."""


def need(condition, why):
    if not condition:
        raise Refused(why)


# What a conversation holds, whoever wrote it down.


class Conversation:
    def __init__(self):
        self.system, self.user, self.pictures, self.documents = "", "", [], []
        self.calls, self.results, self.tools = {}, {}, {}
        self.choice, self.thinks, self.schema = None, False, None
        self.parallel = True


def read_openai(body):
    known = (
        "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens "
        "messages metadata modalities model n parallel_tool_calls prediction presence_penalty "
        "prompt_cache_key reasoning_effort response_format safety_identifier seed service_tier stop store "
        "stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity "
        "web_search_options prompt_cache_retention"
    ).split()
    for field in body:
        need(field in known, f"Unrecognized request argument supplied: {field}")
    need(isinstance(body.get("model"), str), "you must provide a model parameter")
    need(isinstance(body.get("messages"), list) and body["messages"], "messages is too short")
    need(body.get("stream") or not body.get("stream_options"), "stream_options is only allowed when stream is enabled")
    need(0 <= body.get("temperature", 1) <= 2, "temperature is out of range")
    told, pending = Conversation(), set()
    for nth, message in enumerate(body["messages"]):
        role, content = message["role"], message.get("content")
        if role == "tool":
            need(message.get("tool_call_id") in pending, f"messages[{nth}]: no tool call has this tool_call_id")
            pending.discard(message["tool_call_id"])
            told.results[message["tool_call_id"]] = text_of(content)
            continue
        need(not pending, f"messages[{nth}]: tool calls without an answer: {pending}")
        need(role in ("system", "developer", "user", "assistant"), f"messages[{nth}].role")
        if role == "assistant":
            calls = message.get("tool_calls") or []
            need(content or calls or message.get("refusal"), f"messages[{nth}]: an empty message")
            need("tool_calls" not in message or calls, f"messages[{nth}].tool_calls is an empty array")
            for call in calls:
                need(call.get("type") == "function" and isinstance(call["function"]["arguments"], str), "a tool call")
                told.calls[call["id"]] = (call["function"]["name"], json.loads(call["function"]["arguments"] or "{}"))
                pending.add(call["id"])
            continue
        need(content, f"messages[{nth}].content is empty")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            kinds = {"text", "image_url", "file", "input_audio"}
            need(part["type"] in kinds and part["type"] in part, f"messages[{nth}]: a part of type {part['type']}")
            if part["type"] == "image_url":
                told.pictures.append(picture_of(part["image_url"]["url"]))
            elif part["type"] == "file":
                told.documents.append(part["file"]["file_data"].split(";")[0].removeprefix("data:"))
        text = text_of(parts)
        if role == "user":
            told.user = text or told.user
        else:
            told.system += text
    need(not pending, f"tool calls without an answer at the end: {pending}")
    for tool in body.get("tools") or []:
        need(tool["type"] == "function" and re.fullmatch(r"[\w-]{1,64}", tool["function"]["name"]), "a tool")
        told.tools[tool["function"]["name"]] = tool["function"].get("parameters") or {}
    need(body.get("tools") or not body.get("tool_choice"), "tool_choice is only allowed when tools are specified")
    choice = body.get("tool_choice")
    told.choice = choice["function"]["name"] if isinstance(choice, dict) else choice
    told.parallel = body.get("parallel_tool_calls", True)
    told.thinks = body.get("reasoning_effort") not in (None, "none")
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        need(form["json_schema"].get("name"), "response_format.json_schema.name")
        told.schema = form["json_schema"]["schema"]
    return told


def read_anthropic(body):
    known = (
        "cache_control container context_management inference_geo max_tokens mcp_servers messages metadata "
        "model output_config output_format service_tier stop_sequences stream system temperature thinking "
        "tool_choice tools top_k top_p"
    ).split()
    for field in body:
        need(field in known, f"{field}: Extra inputs are not permitted")
    need(isinstance(body.get("max_tokens"), int) and body["max_tokens"] > 0, "max_tokens: Field required")
    need(0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1")
    need(set(body.get("metadata") or {}) <= {"user_id"}, "metadata: Extra inputs are not permitted")
    thinking = body.get("thinking") or {"type": "disabled"}
    thinks = thinking["type"] in ("enabled", "adaptive")
    if thinking["type"] == "enabled":
        need(thinking["budget_tokens"] >= 1024, "thinking.budget_tokens: at least 1024")
        need(thinking["budget_tokens"] < body["max_tokens"], "max_tokens must be greater than thinking.budget_tokens")
    if thinks:
        need(body.get("temperature", 1) == 1, "temperature may only be set to 1 when thinking is enabled")
        choice = (body.get("tool_choice") or {}).get("type", "auto")
        need(choice in ("auto", "none"), "Thinking may not be enabled when tool_choice forces tool use.")
    told, messages = Conversation(), body.get("messages")
    need(isinstance(messages, list) and messages, "messages: at least one message is required")
    need(messages[0]["role"] == "user", "messages: first message must use the user role")
    told.system = text_of(body.get("system") or "")
    pending, in_loop = set(), False
    for nth, message in enumerate(messages):
        role, content = message["role"], message["content"]
        need(set(message) == {"role", "content"}, f"messages.{nth}: Extra inputs are not permitted")
        need(role in ("user", "assistant"), f"messages.{nth}.role")
        need(content, f"messages.{nth}: all messages must have non-empty content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if role == "user":
            need(
                set(results) == pending,
                f"messages.{nth}: `tool_use` and `tool_result` don't match: {pending} {results}",
            )
            need(len(set(results)) == len(results), f"messages.{nth}: two results of one call")
            kinds = [block["type"] == "tool_result" for block in blocks]
            need(kinds == sorted(kinds, reverse=True), f"messages.{nth}: tool_result blocks must come first")
            in_loop = bool(results)
            pending = set()
        else:
            need(not pending, f"messages.{nth}: `tool_use` without `tool_result`")
            pending = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for block in blocks:
            read_block(block, told, f"messages.{nth}")
        if role == "user":
            told.user = text_of([block for block in blocks if block["type"] == "text"]) or told.user
    need(not pending, "messages: the last tool_use has no tool_result")
    if thinks and in_loop:
        last = next(message for message in reversed(messages) if message["role"] == "assistant")
        first = last["content"][0]["type"] if isinstance(last["content"], list) else "text"
        need(
            first in ("thinking", "redacted_thinking"),
            f"Expected `thinking` or `redacted_thinking`, but found `{first}`",
        )
    for tool in body.get("tools") or []:
        need(re.fullmatch(r"[\w-]{1,128}", tool["name"]), "tools: name")
        need(
            tool.get("type", "custom") == "custom" and tool["input_schema"].get("type") == "object",
            "tools: input_schema",
        )
        told.tools[tool["name"]] = tool["input_schema"]
    need(told.tools or not told.calls, "tool_use in the history requires tools to be defined")
    choice = body.get("tool_choice") or {}
    told.choice = {"any": "required", "tool": choice.get("name")}.get(choice.get("type"), choice.get("type"))
    told.parallel = not choice.get("disable_parallel_tool_use", False)
    told.thinks = thinks
    form = body.get("output_format") or (body.get("output_config") or {}).get("format") or {}
    told.schema = form.get("schema")
    return told


def read_block(block, told, where):
    kind = block["type"]
    if kind == "text":
        need(block["text"].strip(), f"{where}: text content blocks must contain non-whitespace text")
    elif kind == "image":
        source = block["source"]
        told.pictures.append(
            source["url"] if source["type"] == "url" else picture_of_data(source["media_type"], source["data"])
        )
    elif kind == "document":
        told.documents.append(block["source"]["media_type"])
    elif kind == "tool_use":
        need(isinstance(block["input"], dict), f"{where}: tool_use.input: Input should be a valid dictionary")
        told.calls[block["id"]] = (block["name"], block["input"])
    elif kind == "tool_result":
        told.results[block["tool_use_id"]] = text_of(block.get("content") or "")
    elif kind == "thinking":
        need(block.get("signature") == SIGNATURE, f"{where}: Invalid `signature` in `thinking` block")
    elif kind == "redacted_thinking":
        need(block.get("data") == REDACTED, f"{where}: Invalid `data` in `redacted_thinking` block")
    else:
        raise Refused(f"{where}: Input tag '{kind}' is not expected")


def text_of(content):
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


def picture_of(url):
    if not url.startswith("data:"):
        return url
    kind, data = url.removeprefix("data:").split(";base64,")
    return picture_of_data(kind, data)


def picture_of_data(kind, data):
    return f"{kind}:{len(data)}"


# What is answered: a list of ("text" | "thinking" | "redacted" | "call", …), the same in either language.


def reply(told):
    """The blocks of the answer, and why it stops."""
    user, answered = told.user, [told.results[call] for call in told.calls if call in told.results]
    thoughts = [("thinking", "Let me see… 🤔")] if told.thinks else []
    forced = next(iter(told.tools), None) if told.choice == "required" else told.choice
    if told.schema or forced in told.tools:
        schema = told.schema or told.tools[forced]
        found = {name: sample(value) for name, value in schema["properties"].items()}
        if told.schema:
            return thoughts + [("text", json.dumps(found))], "end"
        return [("call", "call_forced", forced, found)], "call"
    cities = re.search(r"weather in ([\w, ]+)", user)
    if cities and told.tools:
        cities = [city.strip() for city in cities[1].replace(" and ", ",").split(",")]
        asked = [city for city in cities if ("get_weather", {"city": city}) not in told.calls.values()]
        if asked:
            asked = asked if told.parallel and "one by one" not in user else asked[:1]
            calls = [("call", f"call_{city}_1", "get_weather", {"city": city}) for city in asked]
            return thoughts + [("text", "I'll look. ")] + calls, "call"
        return [("text", "; ".join(answered))], "end"
    if "what time" in user and told.tools:
        if not answered:
            return thoughts + [("call", "call_time_1", "get_time", {})], "call"
        return [("text", f"It is {answered[-1]}.")], "end"
    if "picture" in user:
        return [("text", f"I see {', '.join(told.pictures)}.")], "end"
    if "document" in user:
        return [("text", f"I read {', '.join(told.documents)}.")], "end"
    if "system" in user:
        return [("text", told.system)], "end"
    if "too long" in user:
        return [("text", "This is how it beg")], "length"
    if "refuse" in user:
        return [("text", "I can't help with that.")], "refusal"
    said = user.partition("Say ")[2] or "Hello."
    return thoughts + [("text", said)], "end"


def sample(schema):
    kind = schema.get("type")
    return {"string": "Ada", "integer": 36, "number": 1.5, "boolean": True, "array": []}.get(kind, {})


# How it is written.

FINISH = {"end": "stop", "call": "tool_calls", "length": "length", "refusal": "content_filter"}
STOP = {"end": "end_turn", "call": "tool_use", "length": "max_tokens", "refusal": "refusal"}


def openai_usage(thinks):
    return {
        "prompt_tokens": PROMPT,
        "completion_tokens": OUTPUT,
        "total_tokens": PROMPT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": THOUGHT if thinks else 0, "audio_tokens": 0},
    }


def openai_whole(blocks, stop, told, quirk):
    message = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    text = "".join(block[1] for block in blocks if block[0] == "text")
    message["content"] = [{"type": "text", "text": text}] if quirk == "parts" else text or None
    thoughts = "".join(block[1] for block in blocks if block[0] == "thinking")
    if thoughts:
        message["reasoning_content"] = thoughts
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(args) if args else ""}}
        for kind, id, name, args in (block for block in blocks if block[0] == "call")
    ]
    if calls:
        message["tool_calls"] = calls
    if quirk == "bare":
        del message["refusal"], message["annotations"]
        for call in calls:
            del call["type"]
    finish = "" if quirk == "no reason" else FINISH[stop]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    answer = {
        "id": "chatcmpl-vendor",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "model-of-the-vendor",
        "choices": [choice],
        "usage": openai_usage(told.thinks),
        "service_tier": "default",
        "system_fingerprint": None,
    }
    return ("\n\n \n" if quirk == "blank lines" else "") + json.dumps(answer)


def openai_events(blocks, stop, told, quirk, wants_usage, dice):
    chunk = {
        "id": "chatcmpl-vendor",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "model-of-the-vendor",
    }

    def event(delta, finish=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        more = {"usage": None} if wants_usage else {}
        return "data: " + json.dumps({**chunk, "choices": [choice], **more}, ensure_ascii=False) + "\n\n"

    if quirk == "azure":
        yield 'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[]}\n\n'
    if quirk == "comments":
        yield ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"
    yield event(
        {"content": "", "refusal": None}
        if quirk == "no role"
        else {"role": "assistant", "content": "", "refusal": None}
    )
    index = 0
    if quirk == "whole calls":
        # As Gemini has it: all of a call in one piece, all at index 0, and no id.
        calls = [block for block in blocks if block[0] == "call"]
        blocks = [block for block in blocks if block[0] != "call"]
    for block in blocks:
        if block[0] == "text":
            for piece in pieces(block[1], dice):
                yield event({"content": piece})
        elif block[0] == "thinking":
            for piece in pieces(block[1], dice):
                yield event({"reasoning_content": piece})
        elif block[0] == "call":
            _, id, name, args = block
            arguments = json.dumps(args) if args else ""
            nth = 0 if quirk == "index 0" else index
            first = {"index": nth, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
            yield event({"tool_calls": [first]})
            for piece in pieces(arguments, dice):
                yield event({"tool_calls": [{"index": nth, "function": {"arguments": piece}}]})
            index += 1
    for _, _, name, args in calls if quirk == "whole calls" else []:
        function = {"name": name, "arguments": json.dumps(args)}
        yield event({"tool_calls": [{"index": 0, "id": "", "type": "function", "function": function}]})
    finish = {"finish word": "eos"}.get(quirk, FINISH[stop])
    if quirk == "usage on finish":
        last = {
            **chunk,
            "choices": [{"index": 0, "delta": {}, "finish_reason": finish}],
            "usage": openai_usage(told.thinks),
        }
        yield "data: " + json.dumps(last) + "\n\n"
    else:
        yield event({}, finish)
    if wants_usage and quirk not in ("no usage", "usage on finish"):
        yield "data: " + json.dumps({**chunk, "choices": [], "usage": openai_usage(told.thinks)}) + "\n\n"
    if quirk != "no done":
        yield "data: [DONE]\n\n"


def anthropic_usage(output):
    return {
        "input_tokens": FRESH,
        "cache_creation_input_tokens": WRITTEN,
        "cache_read_input_tokens": CACHED,
        "output_tokens": output,
        "service_tier": "standard",
    }


def anthropic_block(block):
    if block[0] == "text":
        return {"type": "text", "text": block[1]}
    if block[0] == "thinking":
        return {"type": "thinking", "thinking": block[1], "signature": SIGNATURE}
    _, id, name, args = block
    return {"type": "tool_use", "id": id, "name": name, "input": args}


def anthropic_message(content, stop, output):
    return {
        "id": "msg_vendor",
        "type": "message",
        "role": "assistant",
        "model": "model-of-the-vendor",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": anthropic_usage(output),
    }


def anthropic_whole(blocks, stop, told, quirk):
    return json.dumps(anthropic_message([anthropic_block(block) for block in blocks], STOP[stop], OUTPUT))


def anthropic_events(blocks, stop, told, quirk, dice):
    def event(kind, **fields):
        ping = 'event: ping\ndata: {"type": "ping"}\n\n' if quirk == "pings" else ""
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n{ping}"

    yield event("message_start", message=anthropic_message([], None, 1))
    first = 0
    if quirk == "own tools":
        # Of the vendor's own tools, which no client of another language can have asked for.
        search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
        found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
        yield event("content_block_start", index=0, content_block=search)
        yield event(
            "content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"query": "x"}'}
        )
        yield event("content_block_stop", index=0)
        yield event("content_block_start", index=1, content_block=found)
        yield event("content_block_stop", index=1)
        first = 2
    pending = []
    for index, block in enumerate(blocks, first):
        begun = anthropic_block(block)
        deltas = []
        if block[0] == "text":
            begun["text"] = ""
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block[1], dice)]
        elif block[0] == "thinking":
            begun["thinking"] = begun["signature"] = ""
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block[1], dice)]
            deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        elif block[0] == "call":
            begun["input"] = {}
            if quirk != "no deltas" or block[3]:
                parts = ["", *pieces(json.dumps(block[3]), dice)] if block[3] else [""]
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in parts]
        yield event("content_block_start", index=index, content_block=begun)
        rest = [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        rest.append(event("content_block_stop", index=index))
        if quirk == "interleaved":
            pending.append(rest)
        else:
            yield from rest
    while any(pending):
        yield dice.choice([rest for rest in pending if rest]).pop(0)
    yield event(
        "message_delta", delta={"stop_reason": STOP[stop], "stop_sequence": None}, usage={"output_tokens": OUTPUT}
    )
    yield event("message_stop")


def pieces(text, dice):
    """The text in pieces of a few characters, none of them empty."""
    while text:
        length = dice.randint(1, 7)
        yield text[:length]
        text = text[length:]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw = self.rfile.read(int(self.headers["content-length"]))
        anthropic = self.path.endswith("/messages")
        body = json.loads(raw)
        nth = self.server.note(self.path, self.headers, body)
        self.dice = random.Random(f"{len(raw)} {nth}")
        try:
            if anthropic:
                need(self.headers.get("x-api-key") == "sk-vendor", "x-api-key")
                need(self.headers.get("anthropic-version"), "anthropic-version: header is required")
                told = read_anthropic(body)
            else:
                need(self.headers.get("authorization") == "Bearer sk-vendor", "authorization")
                told = read_openai(body)
        except (Refused, KeyError, TypeError, AttributeError) as refused:
            return self.error(anthropic, 400, "invalid_request_error", f"{type(refused).__name__}: {refused}")
        failure = re.search(r"fail (\d+)( once)?", told.user)
        if failure and not (failure[2] and self.server.seen(told.user) > 1):
            status = int(failure[1])
            kind = {
                400: "invalid_request_error",
                401: "authentication_error",
                429: "rate_limit_error",
                529: "overloaded_error",
            }
            return self.error(anthropic, status, kind.get(status, "api_error"), "It failed, as it was asked to.")
        quirk = re.search(r"quirk ([\w ]+)", told.user)
        quirk = quirk[1] if quirk else None
        blocks, stop = reply(told)
        if not body.get("stream"):
            if quirk == "error under 200":
                return self.send(200, "application/json", b'{"error":{"message":"Provider returned error","code":502}}')
            write = anthropic_whole if anthropic else openai_whole
            return self.send(200, "application/json", write(blocks, stop, told, quirk).encode())
        if anthropic:
            events = list(anthropic_events(blocks, stop, told, quirk, self.dice))
        else:
            wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            events = list(openai_events(blocks, stop, told, quirk, wants_usage, self.dice))
        end = re.search(r"break off by (\w+)", told.user)
        if end:
            return self.break_off(anthropic, events[: len(events) // 2], end[1])
        body = "".join(events)
        if quirk == "mark":
            body = "\ufeff" + body
        if quirk == "other lines":
            body = body.replace("\n", "\r\n").replace("data: ", "data:")
        self.stream(body.encode(), True)

    def head(self, status, kind, *fields):
        lines = [
            f"HTTP/1.1 {status} Said",
            f"content-type: {kind}",
            "request-id: req_vendor",
            "x-ratelimit-remaining-requests: 9",
        ]
        return ("\r\n".join([*lines, *fields]) + "\r\n\r\n").encode()

    def send(self, status, kind, body, *fields):
        self.write(self.head(status, kind, f"content-length: {len(body)}", *fields) + body)

    def error(self, anthropic, status, kind, message):
        error = {"type": kind, "message": message}
        body = {"type": "error", "error": error} if anthropic else {"error": {**error, "param": None, "code": None}}
        fields = ["retry-after: 0"] if status in (429, 503, 529) else []
        self.send(status, "application/json", json.dumps(body).encode(), *fields)

    def stream(self, body, ends):
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in self.cut(body, 9))
        head = self.head(200, "text/event-stream; charset=utf-8", "transfer-encoding: chunked")
        self.write(head + chunks + (b"0\r\n\r\n" if ends else b""))

    def break_off(self, anthropic, events, how):
        if how == "error":
            error = {"type": "overloaded_error", "message": "Overloaded"}
            said = {"type": "error", "error": error} if anthropic else {"error": {**error, "code": 503}}
            events = [
                *events,
                f"event: error\ndata: {json.dumps(said)}\n\n" if anthropic else f"data: {json.dumps(said)}\n\n",
            ]
        self.stream("".join(events).encode(), how in ("silence", "error"))
        if how == "reset":
            time.sleep(0.05)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how in ("reset", "close"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR) if how == "close" else self.connection.close()

    def write(self, data):
        for piece in self.cut(data, 12):
            self.wfile.write(piece)
            time.sleep(0.0005)

    def cut(self, data, most):
        at = sorted({0, len(data), *(self.dice.randint(0, len(data)) for _ in range(self.dice.randint(1, most)))})
        return [data[a:b] for a, b in zip(at, at[1:])]


class Vendor(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.requests, self.texts, self.lock = [], {}, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Connections that break are what some tests are about."""

    def note(self, path, headers, body):
        with self.lock:
            self.requests.append((path, dict(headers), body))
            return len(self.requests)

    def seen(self, text):
        with self.lock:
            self.texts[text] = self.texts.get(text, 0) + 1
            return self.texts[text]


if __name__ == "__main__":
    vendor = Vendor()
    print(vendor.port, flush=True)
    sys.stdin.read()
