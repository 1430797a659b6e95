"""The official `openai` client, against targets of both languages."""

import base64
import json

import openai
import pydantic
import pytest
from vendor import CACHED, OUTPUT, PROMPT

PICTURE = "data:image/png;base64," + base64.b64encode(b"not really a picture").decode()
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def client(gateway):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-client", max_retries=0, timeout=20)


def user(text):
    return [{"role": "user", "content": text}]


def counted(usage):
    assert (usage.prompt_tokens, usage.completion_tokens) == (PROMPT, OUTPUT)
    assert usage.total_tokens == PROMPT + OUTPUT
    assert usage.prompt_tokens_details.cached_tokens == CACHED


def test_a_chat_says_what_the_vendor_said(client, target):
    said = 'Grüße, 世界! 😀 "quoted"\n\tand tabbed \\ '
    answer = client.chat.completions.create(model=target, messages=user("Say " + said), max_tokens=100)
    assert answer.choices[0].message.content == said
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    counted(answer.usage)


def test_a_stream_adds_up_to_the_same(client, target, gateway):
    said = "Grüße, 世界! 😀👩‍👩‍👧 " * 20
    chunks = list(
        client.chat.completions.create(
            model=target,
            messages=user("Say " + said),
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-request-id": f"stream-{target}"},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == said
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    counted(chunks[-1].usage)
    assert len({chunk.id for chunk in chunks}) == 1
    [event] = gateway.decisions(f"stream-{target}")
    assert (event["stream"], event["tokens"], event["usage_source"]) == (True, PROMPT + OUTPUT, "provider")


def test_usage_comes_only_if_it_is_asked_for(client, target):
    chunks = list(client.chat.completions.create(model=target, messages=user("Say hi"), stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_the_helper_for_streams_collects_the_answer(client, target):
    with client.chat.completions.stream(model=target, messages=user("Say all of it")) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == "all of it"


def test_system_and_developer_messages_reach_the_vendor_wherever_they_stand(client, target):
    messages = [
        {"role": "system", "content": "One. "},
        {"role": "user", "content": "Who?"},
        {"role": "developer", "content": "Two."},
        {"role": "user", "content": "the system, please"},
    ]
    answer = client.chat.completions.create(model=target, messages=messages)
    assert "One." in answer.choices[0].message.content and "Two." in answer.choices[0].message.content


@pytest.mark.parametrize("streams", [False, True])
def test_tools_are_called_in_a_loop(client, target, streams):
    """Two cities at once, then another one, then the answer; ids and arguments are the vendor's."""
    messages = [{"role": "system", "content": "Be brief."}, *user("weather in Paris and São Paulo")]
    for _ in range(5):
        if streams:
            with client.chat.completions.stream(model=target, messages=messages, tools=[WEATHER, CLOCK]) as stream:
                answer = stream.get_final_completion()
        else:
            answer = client.chat.completions.create(model=target, messages=messages, tools=[WEATHER, CLOCK])
        message = answer.choices[0].message
        if answer.choices[0].finish_reason != "tool_calls":
            break
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in message.tool_calls:
            assert call.type == "function" and call.function.name == "get_weather"
            city = json.loads(call.function.arguments)["city"]
            assert call.id == f"call_{city}_1"
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{city}: sunny"})
    assert message.content == "Paris: sunny; São Paulo: sunny"
    assert len([message for message in messages if message["role"] == "tool"]) == 2


def test_tools_are_called_one_by_one_if_asked(client, target):
    messages, seen = user("weather in Paris, Rome"), []
    for _ in range(5):
        answer = client.chat.completions.create(
            model=target, messages=messages, tools=[WEATHER], parallel_tool_calls=False
        )
        message = answer.choices[0].message
        if not message.tool_calls:
            break
        [call] = message.tool_calls
        seen.append(call.id)
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "wet"}]}]
    assert (seen, message.content) == (["call_Paris_1", "call_Rome_1"], "wet; wet")


@pytest.mark.parametrize("streams", [False, True])
def test_a_tool_without_arguments_has_an_empty_object(client, target, streams):
    ask = dict(model=target, messages=user("what time is it?"), tools=[CLOCK])
    if streams:
        with client.chat.completions.stream(**ask) as stream:
            call = stream.get_final_completion().choices[0].message.tool_calls[0]
    else:
        call = client.chat.completions.create(**ask).choices[0].message.tool_calls[0]
    # To a vendor of the same language nothing is changed, and this one says it as OpenAI does.
    assert call.function.arguments == ("" if target == "openai" else "{}")


def test_tool_history_without_tools_is_taken(client, target):
    messages = [
        *user("weather in Paris"),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        *user("Say thanks"),
    ]
    answer = client.chat.completions.create(model=target, messages=messages)
    assert answer.choices[0].message.content == "thanks"


def test_pictures_reach_the_vendor(client, target):
    parts = [
        {"type": "text", "text": "a picture or two"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    answer = client.chat.completions.create(model=target, messages=user(parts))
    size = len(PICTURE.partition(",")[2])
    assert answer.choices[0].message.content == f"I see image/png:{size}, https://example.com/a.png."


def test_documents_reach_the_vendor(client, target):
    data = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.4").decode()
    parts = [{"type": "file", "file": {"filename": "a.pdf", "file_data": data}}, {"type": "text", "text": "a document"}]
    answer = client.chat.completions.create(model=target, messages=user(parts))
    assert answer.choices[0].message.content == "I read application/pdf."


class Person(pydantic.BaseModel):
    name: str
    age: int


@pytest.mark.parametrize("model", ["openai", "anthropic", "anthropic-native"])
@pytest.mark.parametrize("streams", [False, True])
def test_structured_output_has_its_structure(client, model, streams):
    ask = dict(model=model, messages=user("Who?"), response_format=Person)
    if streams:
        with client.chat.completions.stream(**ask) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.parse(**ask).choices[0].message
    assert message.parsed == Person(name="Ada", age=36)
    assert not message.tool_calls


def test_thinking_comes_apart_from_the_answer(client):
    ask = dict(model="anthropic", messages=user("Say so"), reasoning_effort="low")
    message = client.chat.completions.create(**ask).choices[0].message
    assert (message.content, message.reasoning_content) == ("so", "Let me see… 🤔")
    chunks = list(client.chat.completions.create(**ask, stream=True))
    thought = "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks)
    assert thought == "Let me see… 🤔"


@pytest.mark.parametrize("returns", [True, False])
def test_a_loop_of_tools_goes_on_with_thinking_or_without(client, gateway, returns):
    """Who returns the blocks keeps thinking; who doesn't has it turned off for the turn, and is told so."""
    ask = dict(model="anthropic", tools=[WEATHER], reasoning_effort="medium")
    messages = user("weather in Paris")
    message = client.chat.completions.create(**ask, messages=messages).choices[0].message
    assert message.thinking_blocks
    back = message.model_dump(exclude_none=True)
    if not returns:
        del back["thinking_blocks"]
    messages += [back, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
    name = {"x-request-id": f"loop-{returns}"}
    answer = client.chat.completions.with_raw_response.create(**ask, messages=messages, extra_headers=name)
    assert answer.parse().choices[0].message.content == "sunny"
    [event] = gateway.decisions(f"loop-{returns}")
    approximated = event["translation"]["approximated"]
    assert ("reasoning_effort" in answer.headers.get("x-kt-translation", "")) == (not returns)
    assert ("reasoning_effort" in approximated) == (not returns)


@pytest.mark.parametrize("text,finish", [("too long", "length"), ("refuse", "content_filter")])
def test_an_answer_says_why_it_stops(client, target, text, finish):
    answer = client.chat.completions.create(model=target, messages=user(text))
    assert answer.choices[0].finish_reason == finish


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503, 529])
@pytest.mark.parametrize("streams", [False, True])
def test_a_vendors_error_keeps_its_status_and_words(client, target, status, streams):
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model=target, messages=user(f"fail {status}"), stream=streams)
    assert raised.value.status_code == status
    assert "It failed, as it was asked to." in raised.value.message
    assert raised.value.type
    assert raised.value.request_id
    assert raised.value.response.headers["x-upstream-request-id"] == "req_vendor"


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_client_tries_again_and_succeeds(client, target, status, vendor):
    text = f"fail {status} once Say again {target}"
    answer = client.with_options(max_retries=2).chat.completions.create(model=target, messages=user(text))
    assert answer.choices[0].message.content == f"again {target}"


def test_what_cannot_be_said_is_refused_and_not_tried_again(client, gateway):
    again = client.with_options(max_retries=3)
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        again.chat.completions.create(
            model="anthropic", messages=user("Hi"), n=2, extra_headers={"x-request-id": "n-2"}
        )
    assert raised.value.param == "n"
    again.chat.completions.create(model="anthropic", messages=user("Hi"), extra_headers={"x-request-id": "n-1"})
    assert gateway.decisions("n-1") and len(gateway.decisions("n-2")) == 1


def test_nobody_comes_in_with_a_wrong_key(gateway):
    stranger = openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="openai", messages=user("Hi"))
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_the_models_are_listed(client):
    assert {"openai", "anthropic"} <= {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="nothing", messages=user("Hi"))
    assert "anthropic" in raised.value.message


@pytest.mark.parametrize("model", ["openai", "anthropic", "compatible"])
@pytest.mark.parametrize("how", ["silence", "close", "reset", "error"])
def test_no_torn_stream_is_taken_for_a_whole_one(client, model, how):
    text = f"break off by {how}: Say this and that and all the rest"
    came = 0
    with pytest.raises((openai.APIError, openai.APIConnectionError)):
        for chunk in client.chat.completions.create(model=model, messages=user(text), stream=True):
            came += bool(chunk.choices[0].delta.content)
    assert came > 0
    with pytest.raises((openai.APIError, openai.APIConnectionError)):
        with client.chat.completions.stream(model=model, messages=user(text)) as stream:
            stream.get_final_completion()


@pytest.mark.parametrize(
    "quirk", ["azure", "comments", "no role", "no done", "no usage", "blank lines", "usage on finish", "other lines"]
)
def test_what_odd_vendors_say_passes(client, quirk):
    text = f"quirk {quirk}. Say it all the same"
    answer = client.chat.completions.create(model="compatible", messages=user(text))
    assert answer.choices[0].message.content == "it all the same"
    chunks = client.chat.completions.create(model="compatible", messages=user(text), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "it all the same"


def test_blocks_that_anthropic_interleaves_are_put_together(client):
    ask = dict(model="anthropic", messages=user("weather in Paris, Rome and Oslo? quirk interleaved"), tools=[WEATHER])
    with client.chat.completions.stream(**ask) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.content == "I'll look. "
    calls = [json.loads(call.function.arguments) for call in message.tool_calls]
    assert calls == [{"city": city} for city in ["Paris", "Rome", "Oslo"]]


@pytest.mark.parametrize("quirk", ["pings", "no deltas", "own tools", "other lines", "mark", "interleaved"])
def test_what_anthropic_says_oddly_is_translated(client, quirk):
    ask = dict(model="anthropic", messages=user(f"what time is it? quirk {quirk}"), tools=[CLOCK])
    with client.chat.completions.stream(**ask) as stream:
        [call] = stream.get_final_completion().choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_time_1", "get_time", "{}")
