#!/usr/bin/env python3
"""Holds the translation of requests against an independent translator: LiteLLM's, as a library.

    python3 -m venv target/litellm && target/litellm/bin/pip install litellm==1.110.2
    cargo build --release -p kt-core --example translate
    KT_CORPUS=… target/litellm/bin/python tests/other_translator.py target/release/examples/translate

Recorded requests in either language are translated by both, and what comes out has to say the same: system, turns, calls,
results, tools, the choice of them and stop sequences. Each is also sent on a round trip, there by kt and back by LiteLLM, and
has to come back as it was, so that two mistakes of one translator that cancel out show. Ways in which the two differ on
purpose are listed below with their reason; anything else fails.
"""

import copy
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

# Importing it would fetch a list of prices otherwise: nothing here leaves this machine.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from litellm.llms.anthropic.chat.transformation import AnthropicConfig  # noqa: E402
from litellm.llms.anthropic.messages.adapters.transformation import LiteLLMAnthropicMessagesAdapter  # noqa: E402

# What LiteLLM has a model say that called a tool with an empty text beside it.
PLACEHOLDER = "[System: Empty message content sanitised to satisfy protocol]"

# Fewer than this, in any of the four comparisons, means that the comparison itself is broken.
ALIKE_MIN = 300


def to_anthropic(body):
    """What LiteLLM would send to Anthropic for a client of OpenAI's."""
    config = AnthropicConfig()
    body = copy.deepcopy(body)
    messages = body.pop("messages")
    model = "claude-sonnet-4-5"
    known = set(config.get_supported_openai_params(model))
    params = {name: value for name, value in body.items() if name in known and value is not None}
    mapped = config.map_openai_params(params, {}, model, drop_params=True)
    return config.transform_request(model, messages, mapped, {}, {})


def to_openai(body):
    """What LiteLLM would send to OpenAI for a client of Anthropic's."""
    request, _ = LiteLLMAnthropicMessagesAdapter().translate_anthropic_to_openai(
        copy.deepcopy(body), custom_llm_provider="openai"
    )
    return json.loads(json.dumps(request))


def texts(content):
    if isinstance(content, str):
        return [content] if content.strip() else []
    return [part["text"] for part in content or [] if part.get("type") == "text" and part["text"].strip()]


def say(turns, role, items):
    """Appends to what `role` says; turns of one role are one, and so are texts that follow each other."""
    if items and not (turns and turns[-1][0] == role):
        turns.append((role, []))
    for item in items:
        said = turns[-1][1]
        if item[0] == "text" and said and said[-1][0] == "text":
            item = ("text", said.pop()[1] + item[1])
        said.append(item)


def said(text):
    # White space is where one puts texts together and the other doesn't.
    return [("text", "".join(text.split()))] if text.strip() else []


def call(id, name, arguments):
    return ("call", id, name, json.dumps(arguments, sort_keys=True))


def of_anthropic(request):
    """What a request in Anthropic's language says, whichever of its spellings it uses."""
    turns, system = [], texts(request.get("system"))
    for message in request["messages"]:
        items, content = [], message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = block["type"]
            if kind == "text" and block["text"] != PLACEHOLDER:
                items.extend(said(block["text"]))
            elif kind == "tool_use":
                items.append(call(block["id"], block["name"], block["input"]))
            elif kind == "tool_result":
                items.append(("result", block["tool_use_id"], "".join(texts(block.get("content")))))
            elif kind in ("image", "document"):
                source = block["source"]
                items.append(("media", source.get("data") or source.get("url")))
        if message["role"] == "system":
            system.extend(text for _, text in items)
        else:
            say(turns, message["role"], items)
    tools = [(tool["name"], tool.get("description") or "", schema(tool["input_schema"])) for tool in request.get("tools", [])]
    choice = request.get("tool_choice") or {"type": "auto"}
    return {
        "system": ["".join(text.split()) for text in system],
        "turns": turns,
        "tools": tools,
        "choice": choice.get("name") or {"any": "required"}.get(choice["type"], choice["type"]),
        "stop": request.get("stop_sequences") or [],
    }


def of_openai(request):
    """The same of one in OpenAI's language."""
    turns, system = [], []
    for message in request["messages"]:
        role, content = message["role"], message.get("content")
        if role in ("system", "developer"):
            system.extend("".join(text.split()) for text in texts(content))
        elif role == "tool":
            say(turns, "user", [("result", message["tool_call_id"], "".join(texts(content)))])
        else:
            items = []
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
                if part["type"] == "text" and part["text"] != PLACEHOLDER:
                    items.extend(said(part["text"]))
                elif part["type"] == "image_url":
                    url = part["image_url"] if isinstance(part["image_url"], str) else part["image_url"]["url"]
                    items.append(("media", url.split(";base64,")[-1]))
                elif part["type"] == "file":
                    items.append(("media", (part["file"].get("file_data") or "").split(";base64,")[-1]))
            for made in message.get("tool_calls") or []:
                function = made["function"]
                items.append(call(made["id"], function["name"], json.loads(function["arguments"] or "{}")))
            say(turns, role, items)
    functions = [tool["function"] for tool in request.get("tools") or []]
    choice = request.get("tool_choice") or "auto"
    stop = request.get("stop") or []
    return {
        "system": system,
        "turns": turns,
        "tools": [(tool["name"], tool.get("description") or "", schema(tool.get("parameters") or {})) for tool in functions],
        "choice": choice if isinstance(choice, str) else choice["function"]["name"],
        "stop": [stop] if isinstance(stop, str) else stop,
    }


def schema(value):
    value = dict(value)
    # LiteLLM leaves the first two out, and puts the third, which is the tool's, in here.
    for name in ("title", "description", "defer_loading"):
        value.pop(name, None)
    value.setdefault("type", "object")
    if not value.get("properties"):
        value.pop("properties", None)
    return json.dumps(value, sort_keys=True)


def parts(body):
    lists = [message["content"] for message in body["messages"] if isinstance(message.get("content"), list)]
    return [part for content in lists for part in content if isinstance(part, dict)]


def openai_differs(body):
    """Why the two may differ on a request in OpenAI's language; none if they may not."""
    roles = [message.get("role") for message in body["messages"]]
    spoken = [role for role in roles if role not in ("system", "developer")]
    if body.get("response_format"):
        return "structured output: LiteLLM forces a tool where the vendor has a form of its own"
    if not spoken or spoken[0] != "user":
        return "the model speaks first: each has its own word for the user"
    if "developer" in roles:
        return "LiteLLM takes a developer for a user"
    if any(role == "system" for role in roles[len(roles) - len(spoken) :]):
        return "a late system message"
    if not body.get("tools") and any(message.get("tool_calls") for message in body["messages"]):
        return "a history of tools without a list of them: LiteLLM adds one of its own"
    if any(part.get("type") == "file" for part in parts(body)):
        return "files: LiteLLM fetches or renames them"
    if any(message.get("refusal") for message in body["messages"]):
        return "LiteLLM drops refusals"
    if body.get("functions") or any(message.get("function_call") for message in body["messages"]):
        return "functions of 2023: LiteLLM makes other ids"
    return None


def anthropic_differs(body):
    """The same of one in Anthropic's language."""
    if any(message["role"] == "system" for message in body["messages"]):
        return "a late system message: LiteLLM has the user say it"
    results = [part for part in parts(body) if part.get("type") == "tool_result"]
    inside = [part for result in results if isinstance(result.get("content"), list) for part in result["content"]]
    if any(part.get("type") == "image" for part in inside):
        return "a picture in a tool's result: the user shows it behind the result, LiteLLM leaves it where OpenAI takes none"
    if any(part.get("type") == "document" for part in parts(body) + inside):
        return "documents: LiteLLM leaves out those that are text"
    return None


def compare(translate, language, bodies):
    """Translates all requests of one language, and sends them on a round trip. Returns whether all went well."""
    by_kt, there, back, of_theirs, of_ours, differs = {
        "openai": ("openai", to_anthropic, to_openai, of_anthropic, of_openai, openai_differs),
        "anthropic": ("anthropic", to_openai, to_anthropic, of_openai, of_anthropic, anthropic_differs),
    }[language]
    counts, failures = Counter(), []

    def hold(what, id, ours, theirs):
        try:
            theirs = theirs()
        except Exception as error:  # whatever another translator raises is its own affair
            counts[f"{what}: refused by LiteLLM: {type(error).__name__}"] += 1
            return
        wrong = [name for name in ours if ours[name] != theirs[name]]
        counts[f"{what}: alike"] += not wrong
        for name in wrong:
            failures.append(f"{what} {id} {name}:\n  kt      {ours[name]}\n  litellm {theirs[name]}")

    for id, body in bodies:
        done = subprocess.run([translate, "request", by_kt], input=json.dumps(body).encode(), capture_output=True)
        if done.returncode:
            counts["refused by kt"] += 1
            continue
        why = differs(body)
        if why:
            counts[f"not compared: {why}"] += 1
            continue
        request = json.loads(done.stdout)
        hold("translated", id, of_theirs(request), lambda: of_theirs(there(body)))
        hold("round trip", id, of_ours(body), lambda: of_ours(back(request)))
    print(f"{len(bodies)} requests of {language}")
    for what, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:5} {what}")
    for failure in failures[:20]:
        print(failure[:1500])
    print(f"{len(failures)} differ")
    return not failures and min(counts["translated: alike"], counts["round trip: alike"]) >= ALIKE_MIN


def main():
    corpus = Path(os.environ["KT_CORPUS"]) / "provider-traffic"
    well = []
    for language, file in [("openai", "openai.chat.jsonl"), ("anthropic", "anthropic.messages.jsonl")]:
        records = map(json.loads, (corpus / file).open())
        bodies = [(record["id"], record.get("request_body")) for record in records]
        bodies = [(id, body) for id, body in bodies if isinstance(body, dict) and body.get("messages")]
        well.append(compare(sys.argv[1], language, bodies))
    sys.exit(not all(well))


if __name__ == "__main__":
    main()
