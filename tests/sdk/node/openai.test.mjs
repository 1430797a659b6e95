// The official `openai` client for Node, against targets of both languages.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { OUTPUT, PROMPT, start } from "./parties.mjs";

let parties, client;
before(async () => {
  parties = await start();
  client = new OpenAI({ baseURL: `${parties.url}/v1`, apiKey: "sk-client", maxRetries: 0, timeout: 20_000 });
});
after(() => parties.stop());

const user = (content) => [{ role: "user", content }];
const SAID = "Grüße, 世界! 😀👩‍👩‍👧 \"quoted\" ".repeat(10) + ".";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];

for (const model of ["openai", "anthropic"]) {
  test(`a chat is answered, whole and streamed (${model})`, async () => {
    const messages = user(`Say ${SAID}`);
    const whole = await client.chat.completions.create({ model, messages });
    assert.equal(whole.choices[0].message.content, SAID);
    assert.equal(whole.usage.total_tokens, PROMPT + OUTPUT);
    const stream = client.chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
    const streamed = await stream.finalChatCompletion();
    assert.equal(streamed.choices[0].message.content, SAID);
    assert.equal(streamed.choices[0].finish_reason, "stop");
    assert.equal(streamed.usage.total_tokens, PROMPT + OUTPUT);
  });

  for (const streams of [false, true]) {
    test(`tools are called in a loop (${model}, ${streams ? "streamed" : "whole"})`, async () => {
      const messages = user("weather in Paris and Rome");
      let message;
      for (let turn = 0; turn < 4; turn++) {
        const answer = streams
          ? await client.chat.completions.stream({ model, messages, tools }).finalChatCompletion()
          : await client.chat.completions.create({ model, messages, tools });
        message = answer.choices[0].message;
        if (!message.tool_calls?.length) break;
        messages.push(message);
        for (const call of message.tool_calls) {
          const { city } = JSON.parse(call.function.arguments);
          assert.equal(call.id, `call_${city}_1`);
          messages.push({ role: "tool", tool_call_id: call.id, content: `${city}: sunny` });
        }
      }
      assert.equal(message.content, "Paris: sunny; Rome: sunny");
    });
  }

  test(`structured output has its structure (${model})`, async () => {
    const properties = { name: { type: "string" }, age: { type: "integer" } };
    const schema = { type: "object", properties, required: ["name", "age"], additionalProperties: false };
    const response_format = { type: "json_schema", json_schema: { name: "person", strict: true, schema } };
    const answer = await client.chat.completions.parse({ model, messages: user("Who?"), response_format });
    assert.deepEqual(answer.choices[0].message.parsed, { name: "Ada", age: 36 });
  });

  for (const how of ["silence", "close", "reset", "error"]) {
    test(`no torn stream is taken for a whole one (${model}, ${how})`, async () => {
      const messages = user(`break off by ${how}: Say this and that and all the rest`);
      let came = 0;
      await assert.rejects(async () => {
        for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
          came += Boolean(chunk.choices[0].delta.content);
        }
      });
      assert.ok(came > 0);
      await assert.rejects(client.chat.completions.stream({ model, messages }).finalChatCompletion());
    });
  }

  test(`errors keep their status, and retries succeed (${model})`, async () => {
    await assert.rejects(client.chat.completions.create({ model, messages: user("fail 429") }), OpenAI.RateLimitError);
    await assert.rejects(client.chat.completions.create({ model, messages: user("fail 400") }), OpenAI.BadRequestError);
    const messages = user(`fail 529 once Say again to node, ${model}`);
    const answer = await client.chat.completions.create({ model, messages }, { maxRetries: 2 });
    assert.equal(answer.choices[0].message.content, `again to node, ${model}`);
  });
}

test("the models are listed", async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.ok(models.includes("anthropic"));
});
