import { afterAll, beforeAll, expect, test } from 'vitest';
import { createModel, type LoadOptions, type Model } from '../dist/index.js';
import { failure } from './failure.js';
import { runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

// A model of 4 layers, 96 wide, in f32: a block of 64 positions has 196,608 bytes.
const config = {
  ...{ vocab_size: 300, context_length: 512, emb_dim: 96, n_heads: 4, n_layers: 4 },
  ...{ drop_rate: 0, qkv_bias: true },
};
const blockBytes = 2 * 4 * 64 * 96 * 4;
const creation = { seed: 5, threads: 2, cacheDir: temporaryFolder() };
const make = (options: LoadOptions) => createModel(config, { ...creation, ...options });
let model: Model;
let alone: Model;

beforeAll(async () => {
  model = await make({});
  alone = await make({ prefixCache: false });
});
afterAll(async () => {
  await model?.dispose();
  await alone?.dispose();
});

const tokens = (count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => (i * i * 7 + i * seed + seed) % 300);
const greedy = { temperature: 0, maxTokens: 20 };

test('calls with an equal beginning evaluate only what differs', async () => {
  const system = tokens(150, 3);
  for (const [i, cachedTokens] of [0, 128, 128].entries()) {
    const prompt = [...system, 10 + i, 20, 30];
    const shared = await model.generate(prompt, greedy);
    const own = await alone.generate(prompt, greedy);
    expect(shared.usage).toEqual({ promptTokens: 153, cachedTokens, completionTokens: 20 });
    expect(own.usage.cachedTokens).toBe(0);
    expect(shared.tokens).toEqual(own.tokens);
  }
  const prompt = [...system, 99];
  expect((await model.logits(prompt)).data).toEqual((await alone.logits(prompt)).data);
});

test('prompts of one call share their beginning', async () => {
  const system = tokens(200, 4);
  const prompts = Array.from({ length: 30 }, (_, i) => [...system, i]);
  const all = await model.generate(prompts, greedy);
  const expected = await alone.generate(prompts, greedy);
  expect(all.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
  expect(all.map(({ usage }) => usage.cachedTokens)).toEqual([0, ...Array(29).fill(192)]);
});

test('calls wait for memory, and sessions that were dropped from it go on', async () => {
  await using tight = await make({ cacheMemory: 6 * blockBytes });
  const prompts = Array.from({ length: 40 }, (_, i) => tokens(100, 30 + i));
  const sessions = prompts.slice(0, 8).map(() => tight.createSession());
  await Promise.all(sessions.map((session, i) => session.evaluate(prompts[i] as number[])));
  const all = await tight.generate(prompts, greedy);
  const expected = await alone.generate(prompts, greedy);
  expect(all.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
  for (const [i, session] of sessions.entries()) {
    const { data } = await session.evaluate([7]);
    expect(data).toEqual((await alone.logits([...(prompts[i] as number[]), 7])).data);
    const rest = await session.generate([], greedy);
    expect(rest.usage.promptTokens).toBe(101);
    session.dispose();
  }
});

test('a sequence beyond the limit is OUT_OF_MEMORY, and the model goes on', async () => {
  await using tight = await make({ cacheMemory: 2 * blockBytes });
  const [long, short] = await Promise.allSettled([
    tight.generate(tokens(200, 5), greedy),
    tight.generate(tokens(50, 6), greedy),
  ]);
  expect(short.status).toBe('fulfilled');
  expect(long).toMatchObject({ status: 'rejected', reason: { code: 'OUT_OF_MEMORY' } });
  expect((await failure('OUT_OF_MEMORY', () => tight.logits(tokens(129, 5)))).message).toBe(
    'Expected sequences of together at most 128 positions, which is what the memory for KV caches (cacheMemory) holds',
  );
  expect((await tight.logits(tokens(128, 5))).data).toEqual(
    (await alone.logits(tokens(128, 5))).data,
  );
});

test('forks take no memory', async () => {
  const { stdout } = await runNode(
    `const model = await gpt2.createModel(args.config, args.creation);
     const session = model.createSession();
     await session.evaluate(Array.from({ length: 500 }, (_, i) => i % 300));
     const before = process.memoryUsage().rss;
     const forks = Array.from({ length: 2000 }, () => session.fork());
     await forks[1999].evaluate([1]);
     console.log(process.memoryUsage().rss - before, forks.length);`,
    { config, creation },
  );
  const [grown] = stdout.split(' ').map(Number);
  expect(grown).toBeLessThan(100 * 8 * blockBytes); // of 2,000 copies
});
