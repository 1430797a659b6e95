"""LangChain's `ChatOpenAI`, against targets of both languages."""

import pydantic
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from vendor import OUTPUT, PROMPT


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    age: int


@pytest.fixture
def model(gateway, target):
    return ChatOpenAI(base_url=gateway.url + "/v1", api_key="sk-client", model=target, max_retries=0, stream_usage=True)


def test_a_chat_is_answered_whole_and_streamed(model):
    whole = model.invoke("Say Grüße, 世界")
    assert whole.content == "Grüße, 世界"
    assert whole.usage_metadata["total_tokens"] == PROMPT + OUTPUT
    streamed = None
    for chunk in model.stream("Say Grüße, 世界"):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed.content == "Grüße, 世界"
    assert streamed.usage_metadata["total_tokens"] == PROMPT + OUTPUT


@pytest.mark.parametrize("streams", [False, True])
def test_tools_are_called_in_a_loop(model, streams):
    bound, messages = model.bind_tools([get_weather]), [HumanMessage("weather in Paris and Rome")]
    for _ in range(4):
        if streams:
            message = None
            for chunk in bound.stream(messages):
                message = chunk if message is None else message + chunk
        else:
            message = bound.invoke(messages)
        if not message.tool_calls:
            break
        messages.append(message)
        messages += [
            ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in message.tool_calls
        ]
    assert message.content == "Paris: sunny; Rome: sunny"
    assert len([message for message in messages if isinstance(message, ToolMessage)]) == 2


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_has_its_structure(model, method):
    assert model.with_structured_output(Person, method=method).invoke("Who?") == Person(name="Ada", age=36)


@pytest.mark.parametrize("how", ["silence", "close", "reset", "error"])
def test_no_torn_stream_is_taken_for_a_whole_one(model, how):
    came = ""
    with pytest.raises(Exception):
        for chunk in model.stream(f"break off by {how}: Say this and that and all the rest"):
            came += chunk.content
    assert came


def test_a_vendors_error_is_raised(model):
    with pytest.raises(Exception, match="It failed, as it was asked to."):
        model.invoke("fail 400")
