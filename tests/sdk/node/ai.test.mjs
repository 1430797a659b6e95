// Vercel's `ai` with its providers, against targets of both languages.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { OUTPUT, PROMPT, start } from "./parties.mjs";

let parties, ways;
before(async () => {
  parties = await start();
  const baseURL = `${parties.url}/v1`;
  const apiKey = "sk-client";
  ways = {
    openai: createOpenAI({ baseURL, apiKey }).chat,
    compatible: createOpenAICompatible({
      name: "kt",
      baseURL,
      apiKey,
      includeUsage: true,
      supportsStructuredOutputs: true,
    }),
    anthropic: createAnthropic({ baseURL, apiKey }),
  };
});
after(() => parties.stop());

const SAID = "Grüße, 世界! 😀👩‍👩‍👧 ".repeat(10) + ".";
const weather = tool({
  description: "The weather in a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `${city}: sunny`,
});

for (const way of ["openai", "compatible", "anthropic"]) {
  for (const target of ["openai", "anthropic"]) {
    const ask = (prompt, more) => ({ model: ways[way](target), prompt, maxRetries: 0, ...more });
    const name = `${way} to ${target}`;

    test(`a prompt is answered, whole and streamed (${name})`, async () => {
      const whole = await generateText(ask(`Say ${SAID}`));
      assert.equal(whole.text, SAID);
      assert.equal(whole.usage.outputTokens, OUTPUT);
      assert.equal(whole.usage.inputTokens, PROMPT);
      const streamed = streamText(ask(`Say ${SAID}`));
      assert.equal(await streamed.text, SAID);
      assert.equal(await streamed.finishReason, "stop");
      assert.equal((await streamed.usage).outputTokens, OUTPUT);
    });

    test(`tools are called in a loop (${name})`, async () => {
      const tools = { get_weather: weather };
      const more = { tools, stopWhen: stepCountIs(4) };
      const whole = await generateText(ask("weather in Paris and Rome", more));
      assert.equal(whole.text, "Paris: sunny; Rome: sunny");
      assert.equal(whole.steps[0].toolCalls.length, 2);
      const streamed = streamText(ask("weather in Paris and Rome", more));
      assert.ok((await streamed.text).endsWith("Paris: sunny; Rome: sunny"));
      assert.equal((await streamed.steps)[0].toolCalls.length, 2);
    });

    test(`structured output has its structure (${name})`, async () => {
      const schema = z.object({ name: z.string(), age: z.number().int() });
      const { output } = await generateText(ask("Who?", { output: Output.object({ schema }) }));
      assert.deepEqual(output, { name: "Ada", age: 36 });
    });

    for (const how of ["silence", "close", "reset", "error"]) {
      test(`no torn stream is taken for a whole one (${name}, ${how})`, async () => {
        const errors = [];
        const onError = ({ error }) => errors.push(error);
        const { fullStream } = streamText(ask(`break off by ${how}: Say this and that and the rest`, { onError }));
        const finished = [];
        let came = 0;
        try {
          for await (const part of fullStream) {
            came += part.type === "text-delta";
            if (part.type === "finish") finished.push(part.finishReason);
          }
        } catch (error) {
          errors.push(error);
        }
        assert.ok(came > 0, "it had begun");
        assert.ok(errors.length > 0, "an error is told");
        assert.ok(finished.every((reason) => ["error", "other", "unknown"].includes(reason)), `${finished}`);
      });
    }

    test(`a vendor's error is raised (${name})`, async () => {
      await assert.rejects(generateText(ask("fail 400")), { statusCode: 400 });
    });
  }
}
