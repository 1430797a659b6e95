// The official `@anthropic-ai/sdk`, against targets of both languages.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { OUTPUT, start } from "./parties.mjs";

let parties, client;
before(async () => {
  parties = await start();
  client = new Anthropic({ baseURL: parties.url, apiKey: "sk-client", maxRetries: 0, timeout: 20_000 });
});
after(() => parties.stop());

const max_tokens = 2000;
const user = (content) => [{ role: "user", content }];
const text = (message) => message.content.map((block) => block.text ?? "").join("");
const SAID = "Grüße, 世界! 😀👩‍👩‍👧 \"quoted\" ".repeat(10) + ".";
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "get_weather", input_schema }];

for (const model of ["anthropic", "openai", "compatible"]) {
  test(`a message is answered, whole and streamed (${model})`, async () => {
    const messages = user(`Say ${SAID}`);
    const whole = await client.messages.create({ model, max_tokens, messages });
    assert.equal(text(whole), SAID);
    assert.equal(whole.usage.output_tokens, OUTPUT);
    const streamed = await client.messages.stream({ model, max_tokens, messages }).finalMessage();
    assert.equal(text(streamed), SAID);
    assert.equal(streamed.stop_reason, "end_turn");
    // A vendor of whom it isn't known that it takes `stream_options` isn't asked, and doesn't say: it is counted.
    if (model === "compatible") assert.ok(streamed.usage.output_tokens > 20);
    else assert.equal(streamed.usage.output_tokens, OUTPUT);
  });

  for (const streams of [false, true]) {
    test(`tools are called in a loop (${model}, ${streams ? "streamed" : "whole"})`, async () => {
      const messages = user("weather in Paris and Rome");
      const ask = { model, max_tokens, tools };
      let message;
      for (let turn = 0; turn < 4; turn++) {
        message = streams
          ? await client.messages.stream({ ...ask, messages }).finalMessage()
          : await client.messages.create({ ...ask, messages });
        if (message.stop_reason !== "tool_use") break;
        messages.push({ role: "assistant", content: message.content });
        const calls = message.content.filter((block) => block.type === "tool_use");
        const content = calls.map(({ id, input }) => {
          assert.equal(id, `call_${input.city}_1`);
          return { type: "tool_result", tool_use_id: id, content: `${input.city}: sunny` };
        });
        messages.push({ role: "user", content });
      }
      assert.equal(text(message), "Paris: sunny; Rome: sunny");
    });
  }

  for (const how of ["silence", "close", "reset", "error"]) {
    test(`no torn stream is taken for a whole one (${model}, ${how})`, async () => {
      const ask = { model, max_tokens, messages: user(`break off by ${how}: Say this and that and all the rest`) };
      let came = 0;
      await assert.rejects(async () => {
        for await (const event of await client.messages.create({ ...ask, stream: true })) {
          came += event.type === "content_block_delta";
        }
      });
      assert.ok(came > 0);
      await assert.rejects(client.messages.stream(ask).finalMessage());
    });
  }

  test(`errors keep their status, and retries succeed (${model})`, async () => {
    const ask = (content) => client.messages.create({ model, max_tokens, messages: user(content) }, { maxRetries: 2 });
    await assert.rejects(ask("fail 400"), Anthropic.BadRequestError);
    await assert.rejects(ask("fail 404"), Anthropic.NotFoundError);
    assert.equal(text(await ask(`fail 529 once Say again to messages, ${model}`)), `again to messages, ${model}`);
  });
}

test("thinking keeps its signature in a loop of tools", async () => {
  const ask = { model: "anthropic", max_tokens, tools, thinking: { type: "enabled", budget_tokens: 1024 } };
  const messages = user("weather in Paris");
  const message = await client.messages.stream({ ...ask, messages }).finalMessage();
  assert.equal(message.content[0].type, "thinking");
  const call = message.content.find((block) => block.type === "tool_use");
  messages.push({ role: "assistant", content: message.content });
  messages.push({ role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] });
  assert.equal(text(await client.messages.create({ ...ask, messages })), "sunny");
});

test("the models are listed", async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.ok(models.includes("openai"));
});
