"""The official `anthropic` client, against targets of both languages."""

import base64

import anthropic
import pytest
from vendor import CACHED, FRESH, OUTPUT, PROMPT, SIGNATURE, WRITTEN

DATA = base64.b64encode(b"not really a picture").decode()
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
# Anthropic's client goes by the class for what is in the table of its errors, and else by the status.
TARGETS = ["anthropic", "openai", "compatible"]


@pytest.fixture(params=TARGETS)
def target(request):
    return request.param


@pytest.fixture
def client(gateway):
    return anthropic.Anthropic(base_url=gateway.url, api_key="sk-client", max_retries=0, timeout=20)


def user(content):
    return [{"role": "user", "content": content}]


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def counted(usage, target):
    assert usage.output_tokens == OUTPUT
    assert usage.cache_read_input_tokens == CACHED
    # OpenAI doesn't say what was written to its cache: it is part of the rest.
    written = WRITTEN if target == "anthropic" else 0
    assert (usage.input_tokens, usage.cache_creation_input_tokens or 0) == (PROMPT - CACHED - written, written)
    assert FRESH + WRITTEN + CACHED == PROMPT


def test_a_message_says_what_the_vendor_said(client, target):
    said = 'Grüße, 世界! 😀 "quoted"\n\tand tabbed \\.'
    message = client.messages.create(model=target, max_tokens=100, messages=user("Say " + said))
    assert (text_of(message), message.role, message.type) == (said, "assistant", "message")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message._request_id
    counted(message.usage, target)


def test_a_stream_adds_up_to_the_same(client, target, gateway):
    said = "Grüße, 世界! 😀👩‍👩‍👧 " * 20 + "."
    name = {"x-request-id": f"messages-{target}"}
    ask = dict(model=target, max_tokens=100, messages=user("Say " + said), extra_headers=name)
    with client.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == text_of(message) == said
    assert message.stop_reason == "end_turn"
    [event] = gateway.decisions(f"messages-{target}")
    if target == "compatible":
        # A vendor of whom it isn't known that it takes `stream_options` isn't asked, and doesn't say: it is counted.
        assert event["usage_source"] == "estimated" and message.usage.output_tokens > 20
        assert event["usage"]["completion_tokens"] == message.usage.output_tokens
        return
    counted(message.usage, target)
    assert (event["stream"], event["tokens"], event["usage_source"]) == (True, PROMPT + OUTPUT, "provider")


def test_the_events_of_a_stream_are_framed(client, target):
    ask = dict(model=target, max_tokens=100, messages=user("weather in Paris and Rome"), tools=[WEATHER])
    events = [event for event in client.messages.create(**ask, stream=True)]
    kinds = [event.type for event in events if event.type != "ping"]
    assert (kinds[0], kinds[-2], kinds[-1]) == ("message_start", "message_delta", "message_stop")
    begun = [event.index for event in events if event.type == "content_block_start"]
    ended = [event.index for event in events if event.type == "content_block_stop"]
    assert begun == ended == list(range(len(begun))) == [0, 1, 2]


@pytest.mark.parametrize("streams", [False, True])
def test_tools_are_called_in_a_loop(client, target, streams):
    messages = user("weather in Paris and São Paulo")
    ask = dict(model=target, max_tokens=100, system="Be brief.", tools=[WEATHER, CLOCK])
    for _ in range(5):
        if streams:
            with client.messages.stream(**ask, messages=messages) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**ask, messages=messages)
        if message.stop_reason != "tool_use":
            break
        messages.append({"role": "assistant", "content": message.content})
        results = []
        for block in message.content:
            if block.type == "tool_use":
                assert block.id == f"call_{block.input['city']}_1"
                said = f"{block.input['city']}: sunny"
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": said})
        assert len(results) == 2
        messages.append(
            {"role": "user", "content": [*results, {"type": "text", "text": "And now? weather in Paris and São Paulo"}]}
        )
    assert text_of(message) == "Paris: sunny; São Paulo: sunny"


@pytest.mark.parametrize("streams", [False, True])
def test_a_tool_may_take_nothing(client, target, streams):
    ask = dict(model=target, max_tokens=100, messages=user("what time is it?"), tools=[CLOCK])
    if streams:
        with client.messages.stream(**ask) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**ask)
    assert [block.input for block in message.content if block.type == "tool_use"] == [{}]


def test_a_tool_can_be_forced_and_several_forbidden(client, target, vendor):
    choice = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    ask = dict(model=target, max_tokens=100, messages=user("Who?"), tools=[WEATHER, CLOCK], tool_choice=choice)
    client.messages.create(**ask)
    path, _, body = vendor.requests[-1]
    if path == "/v1/messages":
        assert body["tool_choice"] == choice
    else:
        assert body["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
        assert body["parallel_tool_calls"] is False


def test_pictures_and_documents_reach_the_vendor(client, target):
    blocks = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "text", "text": "a picture or two"},
    ]
    message = client.messages.create(model=target, max_tokens=100, messages=user(blocks))
    assert text_of(message) == f"I see image/png:{len(DATA)}, https://example.com/a.png."
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(b"%PDF-1.4").decode()}
    blocks = [{"type": "document", "source": source}, {"type": "text", "text": "a document"}]
    message = client.messages.create(model=target, max_tokens=100, messages=user(blocks))
    assert text_of(message) == "I read application/pdf."


def test_a_system_prompt_reaches_the_vendor(client, target):
    system = [
        {"type": "text", "text": "One. ", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Two."},
    ]
    message = client.messages.create(model=target, max_tokens=100, system=system, messages=user("the system, please"))
    assert "One." in text_of(message) and "Two." in text_of(message)


def test_thinking_keeps_its_signature_in_a_loop_of_tools(client):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    ask = dict(model="anthropic", max_tokens=2000, tools=[WEATHER], thinking=thinking)
    messages = user("weather in Paris")
    with client.messages.stream(**ask, messages=messages) as stream:
        message = stream.get_final_message()
    assert (message.content[0].type, message.content[0].signature) == ("thinking", SIGNATURE)
    [call] = [block for block in message.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    assert text_of(client.messages.create(**ask, messages=messages)) == "sunny"


@pytest.mark.parametrize("text,stop", [("too long", "max_tokens"), ("refuse", "refusal")])
def test_an_answer_says_why_it_stops(client, target, text, stop):
    assert client.messages.create(model=target, max_tokens=9, messages=user(text)).stop_reason == stop


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
@pytest.mark.parametrize("streams", [False, True])
def test_a_vendors_error_keeps_its_status_and_words(client, target, status, streams):
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model=target, max_tokens=9, messages=user(f"fail {status}"), stream=streams)
    assert raised.value.status_code == status
    assert raised.value.body["type"] == "error"
    assert "It failed, as it was asked to." in raised.value.body["error"]["message"]
    assert raised.value.request_id


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_client_tries_again_and_succeeds(client, target, status):
    text = f"fail {status} once Say again, {target}, to messages"
    message = client.with_options(max_retries=2).messages.create(model=target, max_tokens=9, messages=user(text))
    assert text_of(message) == f"again, {target}, to messages"


def test_what_the_gateway_refuses_is_refused_in_words(client, gateway):
    stranger = anthropic.Anthropic(base_url=gateway.url, api_key="sk-wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="anthropic", max_tokens=9, messages=user("Hi"))
    with pytest.raises(anthropic.NotFoundError) as raised:
        client.messages.create(model="nothing", max_tokens=9, messages=user("Hi"))
    assert "anthropic" in raised.value.body["error"]["message"]
    with pytest.raises(anthropic.UnprocessableEntityError):
        client.messages.count_tokens(model="openai", messages=user("Hi"))


def test_the_models_are_listed(client):
    models = {model.id: model for model in client.models.list()}
    assert {"openai", "anthropic"} <= set(models)
    assert models["openai"].created_at.year == 1970


@pytest.mark.parametrize("how", ["silence", "close", "reset", "error"])
def test_no_torn_stream_is_taken_for_a_whole_one(client, target, how):
    ask = dict(model=target, max_tokens=99, messages=user(f"break off by {how}: Say this and that and all the rest"))
    came = 0
    with pytest.raises((anthropic.APIError, anthropic.APIConnectionError)):
        for event in client.messages.create(**ask, stream=True):
            came += event.type == "content_block_delta"
    assert came > 0
    with pytest.raises((anthropic.APIError, anthropic.APIConnectionError)):
        with client.messages.stream(**ask) as stream:
            stream.get_final_message()


QUIRKS = [
    "azure",
    "comments",
    "no role",
    "no done",
    "no usage",
    "blank lines",
    "parts",
    "finish word",
    "usage on finish",
    "other lines",
    "mark",
    "no reason",
]


@pytest.mark.parametrize("quirk", QUIRKS)
def test_what_odd_vendors_say_is_translated(client, quirk):
    ask = dict(model="compatible", max_tokens=99, messages=user(f"quirk {quirk}. Say it all the same"))
    assert text_of(client.messages.create(**ask)) == "it all the same"
    with client.messages.stream(**ask) as stream:
        assert text_of(stream.get_final_message()) == "it all the same"


@pytest.mark.parametrize("quirk", ["index 0", "whole calls"])
def test_calls_that_a_vendor_does_not_tell_apart_are_told_apart(client, quirk):
    text = f"weather in Paris and Rome and Oslo? quirk {quirk}"
    with client.messages.stream(model="compatible", max_tokens=99, messages=user(text), tools=[WEATHER]) as stream:
        calls = [block for block in stream.get_final_message().content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": city} for city in ["Paris", "Rome", "Oslo"]]
    assert len({call.id for call in calls}) == 3


def test_a_call_without_its_type_is_a_call(client):
    ask = dict(model="compatible", max_tokens=99, messages=user("weather in Paris? quirk bare"), tools=[WEATHER])
    [call] = [block for block in client.messages.create(**ask).content if block.type == "tool_use"]
    assert (call.name, call.id) == ("get_weather", "call_Paris_1")


def test_an_error_under_a_good_status_is_an_error(client):
    with pytest.raises(anthropic.APIStatusError):
        client.messages.create(model="compatible", max_tokens=9, messages=user("quirk error under 200"))
