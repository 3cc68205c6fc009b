// The stock OpenAI client against a running node. Run from a folder with node_modules:
//   node openai.mjs http://127.0.0.1:PORT PID-OF-THE-NODE
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const [base, pid] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), 'here.js'));
const {default: OpenAI} = await import(pathToFileURL(require.resolve('openai')).href);
const client = new OpenAI({baseURL: `${base}/v1`, apiKey: 'none needed on loopback', maxRetries: 0});
const model = 'stories260K';
const tale = {model, prompt: 'Once upon a time', max_tokens: 40, temperature: 0};

// Until the node offers its model, or has ended.
async function ready() {
  for (;;) {
    process.kill(Number(pid), 0);
    const models = await client.models.list().catch(() => ({data: []}));
    if (models.data.some((each) => each.id === model)) return;
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

async function refused(request, type, check) {
  const error = await request.then(() => assert.fail('this should have been refused'), (e) => e);
  assert.ok(error instanceof type, `${error}`);
  check(error);
}

const cases = {
  async 'models are listed and retrieved'() {
    const found = await client.models.retrieve(model);
    assert.equal(found.object, 'model');
    await refused(client.models.retrieve('no-such-model'), OpenAI.NotFoundError, (e) =>
      assert.equal(e.code, 'model_not_found'));
  },

  // The client asks for base64 where nobody says otherwise, and decodes it.
  async 'texts have vectors of length one, the same as numbers and as bytes'() {
    const input = ['Once upon a time', 'The river'];
    const coded = await client.embeddings.create({model, input});
    const plain = await client.embeddings.create({model, input, encoding_format: 'float'});
    assert.equal(coded.data.length, 2);
    assert.ok(coded.usage.prompt_tokens > 2);
    coded.data.forEach(({embedding, index}, i) => {
      assert.equal(index, i);
      assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-5);
      assert.deepEqual([...embedding], plain.data[i].embedding.map(Math.fround));
    });
    const short = await client.embeddings.create({model, input: input[0], dimensions: 8});
    assert.equal(short.data[0].embedding.length, 8);
    await refused(client.embeddings.create({model, input: ''}), OpenAI.BadRequestError, (e) =>
      assert.equal(e.param, 'input'));
  },

  async 'a completion has text, usage and a reason to end'() {
    const answer = await client.completions.create(tale);
    assert.equal(answer.object, 'text_completion');
    assert.ok(answer.choices[0].text.length > 40, answer.choices[0].text);
    assert.equal(answer.choices[0].finish_reason, 'length');
    assert.equal(answer.usage.completion_tokens, 40);
    assert.equal(answer.sedge.outcome, 'answered');
    const again = await client.completions.create(tale);
    assert.equal(again.choices[0].text, answer.choices[0].text);
  },

  async 'a stream gives the same text, and usage at its end'() {
    const whole = await client.completions.create(tale);
    const stream = await client.completions.create({...tale, stream: true, stream_options: {include_usage: true}});
    let text = '', usage = null, reason = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? '';
      reason ??= chunk.choices[0]?.finish_reason;
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].text);
    assert.equal(reason, 'length');
    assert.equal(usage.completion_tokens, 40);
  },

  async 'a stop string ends the text before it'() {
    const whole = (await client.completions.create(tale)).choices[0].text;
    const stop = whole.slice(20, 24);
    const answer = await client.completions.create({...tale, stop});
    assert.equal(answer.choices[0].text, whole.slice(0, whole.indexOf(stop)));
    assert.equal(answer.choices[0].finish_reason, 'stop');
  },

  async 'a seed repeats what was drawn'() {
    const draw = async (seed) =>
      (await client.completions.create({...tale, temperature: 1, seed})).choices[0].text;
    assert.equal(await draw(7), await draw(7));
    assert.notEqual(await draw(7), await draw(8));
  },

  // stories260K has no chat template; either way the client must understand what it is told.
  async 'a chat is answered, or refused with the reason'() {
    const request = {model, messages: [{role: 'user', content: 'Tell me a story.'}], max_tokens: 8};
    const answer = await client.chat.completions.create(request).catch((e) => e);
    if (answer instanceof OpenAI.APIError) return assert.match(answer.message, /template/);
    assert.equal(answer.choices[0].message.role, 'assistant');
    let text = '';
    for await (const chunk of await client.chat.completions.create({...request, stream: true})) {
      text += chunk.choices[0]?.delta?.content ?? '';
    }
    assert.ok(text.length > 0);
  },

  async 'wrong requests are named'() {
    await refused(client.completions.create({...tale, model: 'no-such-model'}), OpenAI.NotFoundError, (e) =>
      assert.equal(e.code, 'model_not_found'));
    await refused(client.completions.create({...tale, temperature: 9}), OpenAI.BadRequestError, (e) => {
      assert.equal(e.type, 'invalid_request_error');
      assert.equal(e.param, 'temperature');
    });
  },

  async 'what cannot be in time is refused with the time to retry, streamed or not, or falls back'() {
    for (const stream of [false, true]) {
      const late = {...tale, max_tokens: 400, deadline_ms: 1, stream};
      await refused(client.completions.create(late), OpenAI.APIError, (e) => {
        assert.ok(e.status === 429 || e.status === 504, `${e}`);
        if (e.status === 429) assert.ok(Number(e.headers.get('retry-after')) >= 1);
      });
    }
    const rule = await client.completions.create({...tale, max_tokens: 400, deadline_ms: 1, fallback: 'hold'});
    assert.equal(rule.choices[0].text, 'hold');
    assert.equal(rule.sedge.outcome, 'fallback');
    assert.equal(rule.sedge.deadline_met, false);
  },

  async 'a client that stops reading early leaves the node free'() {
    const stream = await client.completions.create({...tale, max_tokens: 400, stream: true});
    for await (const chunk of stream) if (chunk.choices[0]?.text) break;
    stream.controller.abort();
    assert.ok((await client.completions.create(tale)).choices[0].text);
  },
};

await ready();
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed = 1;
    console.log(`FAILED  ${name}: ${error.stack}`);
  }
}
process.exit(failed);
