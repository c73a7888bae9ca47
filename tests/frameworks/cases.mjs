// JavaScript's clients against a server, each case as its users write it.
// node cases.mjs BASE_URL CHAT_MODEL EMBEDDINGS_MODEL    prints a line of JSON for each case
import assert from "node:assert";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [baseURL, model, embedder] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const question = "Say hello.", weather = "What is the weather in Paris?";
const cases = [];
const test = (name, run) => cases.push([name, run]);

const parameters = { type: "object", properties: { city: { type: "string", maxLength: 20 } }, required: ["city"] };
const person = {
  type: "object",
  properties: { name: { enum: ["Ann", "Bob"] }, age: { type: "integer", minimum: 0, maximum: 150 } },
  required: ["name", "age"],
  additionalProperties: false,
};
const schema = { type: "json_schema", json_schema: { name: "person", schema: person, strict: true } };
const messages = (content) => [{ role: "user", content }];

const client = async () => new (await load("openai")).OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const ask = async (more, text = question) =>
  (await client()).chat.completions.create({ model, messages: messages(text), max_tokens: 100, temperature: 0, ...more });
const all = async (stream) => { const found = []; for await (const each of stream) found.push(each); return found; };

test("openai_chat", async () => assert((await ask({})).choices[0].message.content));
test("openai_stream", async () => assert((await all(await ask({ stream: true }))).length > 2));
test("openai_tools_required", async () => {
  const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
  const answer = await ask({ tools, tool_choice: "required" }, weather);
  assert.equal(answer.choices[0].message.tool_calls[0].function.name, "get_weather");
});
test("openai_structured", async () =>
  assert(JSON.parse((await ask({ response_format: schema }, "Bob is 5.")).choices[0].message.content).age >= 0));
test("openai_logprobs", async () => assert((await ask({ logprobs: true })).choices[0].logprobs.content.length));
test("openai_embeddings", async () =>
  assert.equal((await (await client()).embeddings.create({ model: embedder, input: ["a", "b"] })).data.length, 2));
test("openai_models", async () => assert.equal((await (await client()).models.retrieve(model)).id, model));
test("openai_responses", async () =>
  assert((await (await client()).responses.create({ model, input: question, max_output_tokens: 16 })).output_text));
test("openai_responses_stream", async () => {
  const stream = await (await client()).responses.create({ model, input: question, max_output_tokens: 16, stream: true });
  assert.match((await all(stream)).at(-1).type, /completed|incomplete/);
});

const compatible = async () =>
  (await load("@ai-sdk/openai-compatible")).createOpenAICompatible({
    name: "local", baseURL, apiKey: "none", supportsStructuredOutputs: true,
  });
const common = { prompt: question, maxOutputTokens: 100, temperature: 0, maxRetries: 0 };

test("ai_generateText", async () => {
  const { generateText } = await load("ai");
  assert((await generateText({ model: (await compatible())(model), ...common })).text);
});
test("ai_streamText", async () => {
  const { streamText } = await load("ai");
  assert((await all(streamText({ model: (await compatible())(model), ...common }).textStream)).length > 2);
});
test("ai_tools_required", async () => {
  const { generateText, tool, jsonSchema } = await load("ai");
  const tools = { get_weather: tool({ inputSchema: jsonSchema(parameters) }) };
  const made = (await compatible())(model);
  const answer = await generateText({ model: made, ...common, prompt: weather, tools, toolChoice: "required" });
  assert.equal(answer.toolCalls[0].toolName, "get_weather");
});
test("ai_structured", async () => {
  const { generateText, Output, jsonSchema } = await load("ai");
  const made = (await compatible())(model);
  const output = Output.object({ schema: jsonSchema(person) });
  assert((await generateText({ model: made, ...common, prompt: "Bob is 5.", output })).output.age >= 0);
});
test("ai_embedMany", async () => {
  const { embedMany } = await load("ai");
  const made = (await compatible()).embeddingModel?.(embedder) ?? (await compatible()).textEmbeddingModel(embedder);
  assert.equal((await embedMany({ model: made, values: ["a", "b"] })).embeddings.length, 2);
});
const responses = async () => (await load("@ai-sdk/openai")).createOpenAI({ baseURL, apiKey: "none" }).responses(model);
test("ai_responses", async () => {
  const { generateText } = await load("ai");
  assert((await generateText({ model: await responses(), ...common })).text);
});
test("ai_responses_stream", async () => {
  const { streamText } = await load("ai");
  assert((await all(streamText({ model: await responses(), ...common }).textStream)).length > 2);
});
test("ai_responses_tools", async () => {
  const { generateText, stepCountIs, tool, jsonSchema } = await load("ai");
  const tools = { get_weather: tool({ inputSchema: jsonSchema(parameters), execute: async () => "sunny" }) };
  const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber ? "none" : "required" });
  const answer = await generateText({
    model: await responses(), ...common, prompt: weather, tools, prepareStep, stopWhen: stepCountIs(2),
  });
  assert.equal(answer.steps.length, 2);
});

const langchain = async (more) =>
  new (await load("@langchain/openai")).ChatOpenAI({
    model, apiKey: "none", maxTokens: 100, temperature: 0, maxRetries: 0, configuration: { baseURL }, ...more,
  });
test("langchain_chat", async () => assert((await (await langchain()).invoke(question)).content));
test("langchain_stream", async () => assert((await all(await (await langchain()).stream(question))).length > 2));
test("langchain_tools_required", async () => {
  const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
  const answer = await (await langchain()).bindTools(tools, { tool_choice: "any" }).invoke(weather);
  assert.equal(answer.tool_calls[0].name, "get_weather");
});
test("langchain_structured", async () => {
  const made = (await langchain()).withStructuredOutput(person, { method: "jsonSchema", name: "person" });
  assert((await made.invoke("Bob is 5.")).age >= 0);
});
test("langchain_responses", async () =>
  assert((await (await langchain({ useResponsesApi: true })).invoke(question)).text));
test("langchain_embeddings", async () => {
  const { OpenAIEmbeddings } = await load("@langchain/openai");
  const made = new OpenAIEmbeddings({ model: embedder, apiKey: "none", configuration: { baseURL } });
  assert.equal((await made.embedDocuments(["a", "b"])).length, 2);
});

for (const [name, run] of cases) {
  let error = "";
  try {
    await run();
  } catch (caught) {
    error = `${caught?.name}: ${caught?.message}`.slice(0, 500);
    console.error(caught);
  }
  console.log(JSON.stringify({ case: name, error }));
}
process.exit(0);
