"""Pydantic AI over both of its clients, against targets of both languages. It is the strictest reader of all."""

import pydantic
import pytest
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Person(pydantic.BaseModel):
    name: str
    age: int


@pytest.fixture(params=["openai", "anthropic"])
def model(gateway, target, request):
    if request.param == "openai":
        provider = OpenAIProvider(base_url=gateway.url + "/v1", api_key="sk-client")
        return OpenAIChatModel(target, provider=provider)
    return AnthropicModel(target, provider=AnthropicProvider(base_url=gateway.url, api_key="sk-client"))


def test_a_chat_is_answered(model):
    result = Agent(model, instructions="Be brief.").run_sync("Say Grüße, 世界")
    assert result.output == "Grüße, 世界"


def test_a_stream_is_answered(model):
    result = Agent(model).run_stream_sync("Say all of it")
    assert result.get_output() == "all of it"


@pytest.mark.parametrize("streams", [False, True])
def test_tools_are_called_in_a_loop(model, streams):
    agent, asked = Agent(model), []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        asked.append(city)
        return f"{city}: sunny"

    async def listen(_, events):
        async for _ in events:
            pass

    result = agent.run_sync("weather in Paris and Rome", event_stream_handler=listen if streams else None)
    assert sorted(asked) == ["Paris", "Rome"]
    assert result.output == "Paris: sunny; Rome: sunny"


def test_structured_output_has_its_structure(model):
    assert Agent(model, output_type=Person).run_sync("Who?").output == Person(name="Ada", age=36)


def test_a_picture_reaches_the_vendor(model):
    picture = BinaryContent(b"not really a picture", media_type="image/png")
    assert Agent(model).run_sync(["a picture", picture]).output == "I see image/png:28."


@pytest.mark.parametrize("how", ["silence", "close", "reset", "error"])
def test_no_torn_stream_is_taken_for_a_whole_one(model, how):
    with pytest.raises(Exception):
        Agent(model).run_stream_sync(f"break off by {how}: Say this and that and all the rest").get_output()


def test_a_vendors_error_is_raised(model):
    with pytest.raises(Exception, match="It failed, as it was asked to."):
        Agent(model, retries=0).run_sync("fail 400")
