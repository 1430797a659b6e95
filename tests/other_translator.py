#!/usr/bin/env python3
"""Holds the translation of requests and answers against an independent translator: LiteLLM's, as a library.

    python3 -m venv target/litellm && target/litellm/bin/pip install litellm==1.110.2
    cargo build --release -p kt-core --example translate
    KT_CORPUS=… target/litellm/bin/python tests/other_translator.py target/release/examples/translate

What both translate has to say the same: system, turns, calls, results, tools and the choice of them. Ways in which the two
differ on purpose are listed below with their reason; anything else fails.
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

# What LiteLLM has a model say that called a tool with an empty text beside it.
PLACEHOLDER = "[System: Empty message content sanitised to satisfy protocol]"

# Fewer than this means that the comparison itself is broken.
ALIKE_MIN = 300


def litellm_request(body):
    """What LiteLLM would send to Anthropic."""
    config = AnthropicConfig()
    body = copy.deepcopy(body)
    messages = body.pop("messages")
    model = "claude-sonnet-4-5"
    known = set(config.get_supported_openai_params(model))
    params = {name: value for name, value in body.items() if name in known and value is not None}
    mapped = config.map_openai_params(params, {}, model, drop_params=True)
    return config.transform_request(model, messages, mapped, {}, {})


def texts(content):
    if isinstance(content, str):
        return [content] if content.strip() else []
    return [part["text"] for part in content or [] if part.get("type") == "text" and part["text"].strip()]


def neutral(request):
    """What a request in Anthropic's language says, whichever of its spellings it uses."""
    turns = []
    for message in request["messages"]:
        items = []
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = block["type"]
            if kind == "text" and block["text"] == PLACEHOLDER:
                continue
            if kind == "text" and block["text"].strip():
                items.append(("text", block["text"].rstrip()))
            elif kind == "tool_use":
                items.append(("call", block["id"], block["name"], json.dumps(block["input"], sort_keys=True)))
            elif kind == "tool_result":
                items.append(("result", block["tool_use_id"], "".join(texts(block.get("content")))))
            elif kind in ("image", "document"):
                source = block["source"]
                items.append(("media", source.get("data") or source.get("url")))
        # Anthropic reads turns of one role as one.
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(items)
        elif items:
            turns.append((message["role"], items))
    tools = [(tool["name"], tool.get("description") or "", schema(tool["input_schema"])) for tool in request.get("tools", [])]
    choice = request.get("tool_choice") or {"type": "auto"}
    return {
        "system": texts(request.get("system")),
        "turns": turns,
        "tools": tools,
        "choice": choice.get("name") or choice["type"],
        "stop": request.get("stop_sequences") or [],
    }


def schema(value):
    value = dict(value)
    value.pop("title", None)  # LiteLLM leaves it out
    value.setdefault("type", "object")
    if not value.get("properties"):
        value.pop("properties", None)
    return json.dumps(value, sort_keys=True)


def differs_on_purpose(body, ours):
    """Why the two may differ on this request; none if they may not."""
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
    if any(isinstance(part, dict) and part.get("type") == "file" for m in body["messages"] if isinstance(m.get("content"), list) for part in m["content"]):
        return "files: LiteLLM fetches or renames them"
    if any(message.get("refusal") for message in body["messages"]):
        return "LiteLLM drops refusals"
    if body.get("functions") or any(message.get("function_call") for message in body["messages"]):
        return "functions of 2023: LiteLLM makes other ids"
    return None


def main():
    translate = sys.argv[1]
    corpus = Path(os.environ["KT_CORPUS"]) / "provider-traffic"
    counts, failures = Counter(), []
    for line in (corpus / "openai.chat.jsonl").open():
        record = json.loads(line)
        body = record.get("request_body")
        if not isinstance(body, dict) or not body.get("messages"):
            continue
        done = subprocess.run([translate, "request", "openai"], input=json.dumps(body).encode(), capture_output=True)
        if done.returncode:
            counts["refused by kt"] += 1
            continue
        ours = json.loads(done.stdout)
        why = differs_on_purpose(body, ours)
        if why:
            counts[f"not compared: {why}"] += 1
            continue
        try:
            theirs = litellm_request(body)
        except Exception as error:  # whatever another translator raises is its own affair
            counts[f"refused by LiteLLM: {type(error).__name__}"] += 1
            continue
        ours, theirs = neutral(ours), neutral(theirs)
        if ours == theirs:
            counts["alike"] += 1
        else:
            field = next(name for name in ours if ours[name] != theirs[name])
            failures.append(f"{record['id']} {field}:\n  kt      {ours[field]}\n  litellm {theirs[field]}")
    for what, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:5} {what}")
    for failure in failures[:20]:
        print(failure[:1500])
    print(f"{len(failures)} differ")
    sys.exit(bool(failures) or counts["alike"] < ALIKE_MIN)


if __name__ == "__main__":
    main()
