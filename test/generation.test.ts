import { getEventListeners } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { convert, type GenerateOptions, loadModel, type Model } from '../dist/index.js';
import { Session } from '../dist/session.js';
import { type Config, changedFixture, writeTextCheckpoint } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { readGguf } from './gguf-reader.js';
import { argmax, fixtureFolder, readGolden } from './golden.js';
import { packageEntry, runNode } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const cacheDir = temporaryFolder();
// One thread, since vitest runs test files in parallel and spinning threads would slow each other down.
const loading = { cacheDir, threads: 1 };
const prompt = readGolden('wide').tokens.slice(0, 12);
/** 96 positions, no tokenizer */
let model: Model;
/** 64 positions, GPT-2's vocabulary */
let textModel: Model;

beforeAll(async () => {
  model = await loadModel(fixtureFolder('wide'), { ...loading, type: 'f32' });
  textModel = await loadModel(writeTextCheckpoint(join(cacheDir, 'text')), loading);
});
afterAll(async () => {
  await model.dispose();
  await textModel.dispose();
});

/** Greedy generation by evaluating one token at a time. */
async function greedyTokens(start: number[], count: number): Promise<number[]> {
  using session = model.createSession();
  const tokens: number[] = [];
  let { data } = await session.evaluate(start);
  while (tokens.length < count) {
    tokens.push(argmax(data));
    ({ data } = await session.evaluate(tokens.slice(-1)));
  }
  return tokens;
}

async function streamed(
  one: Model,
  input: string | number[],
  options: GenerateOptions,
): Promise<{ text: string; tokens: number[]; parts: number }> {
  const all = { text: '', tokens: [] as number[], parts: 0 };
  for await (const { text, tokens } of one.stream(input, options)) {
    all.text += text;
    all.tokens.push(...tokens);
    all.parts++;
  }
  return all;
}

describe('sampling', () => {
  test('at temperature 0 picks the most likely token at every step', async () => {
    const { tokens, finishReason } = await model.generate(prompt, {
      temperature: 0,
      maxTokens: 40,
    });
    expect([...tokens]).toEqual(await greedyTokens(prompt, 40));
    expect(finishReason).toBe('length');
  });

  test('at a temperature close to 0 does the same', async () => {
    const { tokens } = await model.generate(prompt, { temperature: 1e-310, maxTokens: 10 });
    expect([...tokens]).toEqual(await greedyTokens(prompt, 10));
  });

  test('from a single candidate picks the most likely token', async () => {
    const greedy = await model.generate(prompt, { temperature: 0, maxTokens: 20 });
    for (const options of [{ topK: 1 }, { topP: 1e-9 }, { temperature: 1e-6 }]) {
      const { tokens } = await model.generate(prompt, { ...options, maxTokens: 20, seed: 3 });
      expect(tokens).toEqual(greedy.tokens);
    }
  });

  // Each case draws many samples with the seeds 0, 1, 2 …, so that the outcome is deterministic.
  test.each<[string, GenerateOptions]>([
    ['from all tokens', {}],
    ['at a low temperature', { temperature: 0.6 }],
    ['at a high temperature', { temperature: 2.5 }],
    ['from the top 5', { topK: 5 }],
    ['with a topK above the vocabulary size', { topK: 1000 }],
    ['from a nucleus of 0.5', { topP: 0.5 }],
    [
      'from a nucleus of 0.9 of the top 6 at a low temperature',
      { topK: 6, topP: 0.9, temperature: 0.8 },
    ],
  ])('%s follows the probabilities', async (_, options) => {
    const draws = 3000;
    await using small = await loadModel(fixtureFolder('odd-heads'), loading);
    const { data } = await small.logits([1, 2, 3, 4]);
    const expected = probabilities(data, options);

    const counts = new Array<number>(data.length).fill(0);
    for (let seed = 0; seed < draws; seed++) {
      const { tokens } = await small.generate([1, 2, 3, 4], { ...options, seed, maxTokens: 1 });
      // The last token is <|endoftext|>, which is not part of the result.
      const token = tokens[0] ?? data.length - 1;
      counts[token] = (counts[token] ?? 0) + 1;
    }
    for (const [token, probability] of expected.entries()) {
      if (probability === 0) expect(counts[token]).toBe(0);
    }
    expect(chiSquareExcess(counts, expected, draws)).toBeLessThan(4);
  });

  test('follows the conditional probabilities for later tokens', async () => {
    // Draws two tokens in sequence: their random numbers must be independent.
    await using small = await loadModel(fixtureFolder('odd-heads'), loading);
    const pairs = new Map<string, number>();
    const draws = 2000;
    for (let seed = 0; seed < draws; seed++) {
      const { tokens } = await small.generate([1, 2], {
        topK: 2,
        temperature: 3,
        seed,
        maxTokens: 2,
      });
      pairs.set(tokens.join(), (pairs.get(tokens.join()) ?? 0) + 1);
    }
    const first = probabilities((await small.logits([1, 2])).data, { topK: 2, temperature: 3 });
    const expected: number[] = [];
    const counts: number[] = [];
    for (const [a, pa] of first.entries()) {
      if (pa === 0) continue;
      const second = probabilities((await small.logits([1, 2, a])).data, {
        topK: 2,
        temperature: 3,
      });
      for (const [b, pb] of second.entries()) {
        if (pb === 0) continue;
        expected.push(pa * pb);
        counts.push(pairs.get(`${a},${b}`) ?? 0);
      }
    }
    expect(counts.reduce((sum, count) => sum + count)).toBe(draws);
    expect(chiSquareExcess(counts, expected, draws)).toBeLessThan(4);
  });

  test('is reproducible with a seed, for any number of threads', async () => {
    const options = { seed: 12345, temperature: 0.9, topK: 50, topP: 0.95, maxTokens: 5 };
    const { tokens } = await model.generate(prompt, options);
    for (const threads of [1, 2, 3]) {
      await using other = await loadModel(fixtureFolder('wide'), {
        cacheDir,
        type: 'f32',
        threads,
      });
      expect((await other.generate(prompt, options)).tokens).toEqual(tokens);
    }
    expect((await model.generate(prompt, { ...options, seed: 12346 })).tokens).not.toEqual(tokens);
  });

  test('differs without a seed and can be repeated with the returned seed', async () => {
    const [a, b] = await Promise.all([model.generate(prompt), model.generate(prompt)]);
    expect(a?.seed).not.toBe(b?.seed);
    expect(a?.tokens).not.toEqual(b?.tokens);
    const again = await model.generate(prompt, { seed: a?.seed as number });
    expect(again.tokens).toEqual(a?.tokens);
  });

  test('uses all bits of the seed', async () => {
    const [low, high] = await Promise.all(
      [7, 7 + 2 ** 32].map((seed) => model.generate(prompt, { seed, maxTokens: 20 })),
    );
    expect(low?.tokens).not.toEqual(high?.tokens);
  });
});

describe('generation stops', () => {
  test('after maxTokens, which may be 0', async () => {
    for (const maxTokens of [0, 1, 7]) {
      const { tokens, finishReason, usage } = await model.generate(prompt, { maxTokens, seed: 1 });
      expect(tokens).toHaveLength(maxTokens);
      expect(finishReason).toBe('length');
      expect(usage).toEqual({ promptTokens: 12, cachedTokens: 0, completionTokens: maxTokens });
    }
  });

  test('after 128 tokens by default', async () => {
    await using long = await loadModel(fixtureFolder('bf16'), loading);
    expect((await long.generate([1], { seed: 1 })).tokens).toHaveLength(128);
  });

  test('when the context is full', async () => {
    const tokens = readGolden('wide').tokens;
    const nearly = await model.generate(tokens.slice(0, 90), { maxTokens: 1000, temperature: 0 });
    expect(nearly.tokens).toHaveLength(6);
    expect(nearly.finishReason).toBe('length');
    const full = await model.generate(tokens, { maxTokens: 1000 });
    expect(full.tokens).toHaveLength(0);
    expect(full.finishReason).toBe('length');
    expect(full.timings).toMatchObject({ firstTokenMs: 0, tokensPerSecond: 0 });
    await failure('CONTEXT_OVERFLOW', () => model.generate([...tokens, 1]));
  });

  test('at the end-of-text token, which is not returned', async () => {
    const [first, second, third] = await greedyTokens(prompt, 3);
    expect(new Set([first, second, third]).size).toBe(3);
    const folder = changedFixture(join(cacheDir, 'ending'), 'wide', {
      config: { eos_token_id: third },
    });
    await using ending = await loadModel(folder, { ...loading, type: 'f32' });
    const options = { temperature: 0, maxTokens: 50 };

    const { tokens, finishReason, usage } = await ending.generate(prompt, options);
    expect([...tokens]).toEqual([first, second]);
    expect(finishReason).toBe('endOfText');
    expect(usage.completionTokens).toBe(2);
    expect((await streamed(ending, prompt, options)).tokens).toEqual([first, second]);

    using session = ending.createSession();
    await session.generate(prompt, options);
    expect([...session.tokens]).toEqual([...prompt, first, second]);
    // In a prompt it is a token like any other.
    expect(argmax((await session.evaluate([third as number])).data)).toBe(
      (await greedyTokens(prompt, 4))[3],
    );
  });
});

describe('the ids that end a text', () => {
  /** Converts a checkpoint with these settings and returns what the file says and where generation ends. */
  async function endsOf(config: Config, generationConfig?: Config) {
    const folder = changedFixture(freshFolder(cacheDir), 'wide', { config });
    if (generationConfig) {
      const text = JSON.stringify(generationConfig);
      writeFileSync(join(folder, 'generation_config.json'), text);
    }
    const path = join(folder, 'model.gguf');
    await convert(folder, path, { type: 'f32' });
    const { metadata } = readGguf(path);
    await using model = await loadModel(path, loading);
    const { tokens, finishReason } = await model.generate(prompt, { temperature: 0, maxTokens: 4 });
    return {
      eos: metadata.get('tokenizer.ggml.eos_token_id'),
      all: metadata.get('gpt2_native.end_of_text_ids'),
      generated: [...tokens],
      finishReason,
    };
  }
  const endOfText = 'endOfText';

  test('are a number or a list, in generation_config.json or else in config.json', async () => {
    const four = await greedyTokens(prompt, 4);
    const [first, second, third] = four as [number, number, number];
    const other = [0, 1, 2, 3, 4].find((id) => !four.includes(id)) as number;
    // A list ends at the first of its ids that is generated.
    expect(await endsOf({ eos_token_id: [other, third, second] })).toEqual({
      eos: other,
      all: [other, third, second],
      generated: [first],
      finishReason: endOfText,
    });
    expect(await endsOf({ eos_token_id: [third] })).toEqual({
      eos: third,
      all: undefined,
      generated: [first, second],
      finishReason: endOfText,
    });
    // generation_config.json comes before config.json, which is not read then.
    expect(await endsOf({ eos_token_id: second }, { eos_token_id: [other, third] })).toEqual({
      eos: other,
      all: [other, third],
      generated: [first, second],
      finishReason: endOfText,
    });
    for (const silent of [{}, { eos_token_id: null }]) {
      const { generated } = await endsOf({ eos_token_id: third }, silent);
      expect(generated).toEqual([first, second]);
    }
  });

  test('are ignored if they are not ids of the vocabulary', async () => {
    for (const ids of [null, -1, 1.5, 509, 2 ** 40, [], [null, 'x', -1, 509]]) {
      const { eos, all, generated, finishReason } = await endsOf({ eos_token_id: ids });
      expect({ eos, all, finishReason }).toEqual({ finishReason: 'length' });
      expect(generated).toHaveLength(4);
    }
  });

  test('are read from generation_config.json again after it has changed', async () => {
    const [first, second] = await greedyTokens(prompt, 2);
    const folder = changedFixture(freshFolder(cacheDir), 'wide', {
      config: { eos_token_id: null },
    });
    const options = { temperature: 0, maxTokens: 2 };
    for (const [ids, expected] of [
      [null, [first, second]],
      [[second, 3], [first]],
    ]) {
      const path = join(folder, 'generation_config.json');
      writeFileSync(path, JSON.stringify({ eos_token_id: ids }));
      await using model = await loadModel(folder, { ...loading, type: 'f32' });
      expect([...(await model.generate(prompt, options)).tokens]).toEqual(expected);
    }
  });
});

describe('a session', () => {
  test('continues from its tokens', async () => {
    const expected = await greedyTokens(prompt, 12);
    using session = model.createSession();
    await session.evaluate(prompt.slice(0, 5));
    const options = { temperature: 0, maxTokens: 4 };
    const first = await session.generate(prompt.slice(5), options);
    const second = await session.generate([], options);
    const third = await session.generate('', options);
    expect([...first.tokens, ...second.tokens, ...third.tokens]).toEqual(expected);
    expect([...session.tokens]).toEqual([...prompt, ...expected]);
    expect(first.usage).toEqual({ promptTokens: 12, cachedTokens: 5, completionTokens: 4 });
    // The keys and values of the last generated token are not computed yet.
    expect(second.usage).toEqual({ promptTokens: 16, cachedTokens: 15, completionTokens: 4 });
  });

  test('keeps the prompt if no token is generated', async () => {
    using session = model.createSession();
    await session.generate(prompt, { maxTokens: 0 });
    expect([...session.tokens]).toEqual(prompt);
    const { data } = await session.evaluate([9]);
    expect(argmax(data)).toBe(argmax((await model.logits([...prompt, 9])).data));
  });

  test('holds the tokens received from a stream that was left early', async () => {
    const expected = await greedyTokens(prompt, 60);
    using session = model.createSession();
    const received: number[] = [];
    for await (const { tokens } of session.stream(prompt, { temperature: 0, maxTokens: 60 })) {
      received.push(...tokens);
      if (received.length >= 3) break;
    }
    expect(received).toEqual(expected.slice(0, received.length));
    expect([...session.tokens]).toEqual([...prompt, ...received]);
    const { tokens } = await session.generate([], { temperature: 0, maxTokens: 5 });
    expect([...received, ...tokens]).toEqual(expected.slice(0, received.length + 5));
  });

  test('runs a queued call once a stream has all its tokens, even if the loop over the stream awaits it', async () => {
    const expected = await greedyTokens(prompt, 6);
    using session = model.createSession();
    const received: number[] = [];
    const queued: number[] = [];
    for await (const { tokens } of session.stream(prompt, { temperature: 0, maxTokens: 6 })) {
      received.push(...tokens);
      if (queued.length === 0) {
        await failure('SESSION_BUSY', () => session.rewind(0));
        const { data } = await session.evaluate([4]);
        queued.push(argmax(data));
        expect([...session.tokens]).toEqual([...prompt, ...expected, 4]);
      }
    }
    expect(received).toEqual(expected);
    expect(queued).toEqual([argmax((await model.logits([...prompt, ...expected, 4])).data)]);
    expect([...session.tokens]).toEqual([...prompt, ...expected, 4]);
    session.rewind(0);
  });

  test('lets a stream continue if a call that waits for it is aborted', async () => {
    using session = model.createSession();
    const received: number[] = [];
    const controller = new AbortController();
    let aborted = 0;
    for await (const { tokens } of session.stream(prompt, { temperature: 0, maxTokens: 60 })) {
      received.push(...tokens);
      if (received.length > tokens.length) break;
      const waiting = session.evaluate([4], { signal: controller.signal });
      controller.abort();
      await expect(waiting).rejects.toBe(controller.signal.reason);
      aborted++;
    }
    expect(aborted).toBe(1);
    expect([...session.tokens]).toEqual([...prompt, ...received]);
  });

  test('holds the prompt of a stream without tokens', async () => {
    using session = model.createSession();
    for await (const _ of session.stream(prompt, { maxTokens: 0 }));
    expect([...session.tokens]).toEqual(prompt);
  });

  test('runs a call after a stream whose iterator was abandoned', async () => {
    using session = model.createSession();
    await session.stream(prompt, { temperature: 0, maxTokens: 4 }).next();
    await session.evaluate([4]);
    expect(session.length).toBe(prompt.length + 4 + 1);
  });
});

describe('a stream', () => {
  test('returns the same tokens as generate for the same seed', async () => {
    for (const [one, input] of [
      [model, prompt],
      [textModel, 'Once upon'],
    ] as const) {
      const options = { seed: 99, maxTokens: 40 };
      const whole = await one.generate(input as string, options);
      const { text, tokens, parts } = await streamed(one, input as string, options);
      expect(tokens).toEqual([...whole.tokens]);
      expect(text).toBe(whole.text);
      expect(parts).toBeGreaterThan(0);
    }
  });

  test('ends with a part that says why', async () => {
    for (const maxTokens of [0, 3]) {
      const parts = [];
      for await (const part of model.stream(prompt, { maxTokens, seed: 7 })) parts.push(part);
      expect(parts.length).toBe(maxTokens + 1);
      const last = parts.pop();
      expect(last).toMatchObject({ text: '', tokens: [], finishReason: 'length', seed: 7 });
      expect(last?.usage).toEqual({
        promptTokens: prompt.length,
        completionTokens: maxTokens,
        cachedTokens: last?.usage?.cachedTokens,
      });
      for (const part of parts) expect(part).not.toHaveProperty('finishReason');
    }
  });

  test('that is left early does not affect later calls', async () => {
    let parts = 0;
    for (let i = 0; i < 5; i++) {
      for await (const part of model.stream(prompt, { maxTokens: 84, temperature: 0 })) {
        expect(part.tokens.length).toBeGreaterThan(0);
        parts++;
        break;
      }
    }
    expect(parts).toBe(5);
    const stream = model.stream(prompt);
    await stream.next();
    await stream.return();
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    const { tokens } = await model.generate(prompt, { temperature: 0, maxTokens: 5 });
    expect([...tokens]).toEqual(await greedyTokens(prompt, 5));
  });

  test('propagates an error thrown in the loop', async () => {
    const mine = new Error('mine');
    const loop = async () => {
      for await (const _ of model.stream(prompt, { temperature: 0 })) throw mine;
    };
    await expect(loop()).rejects.toBe(mine);
  });
});

describe('a signal', () => {
  const reason = new Error('changed my mind');

  test('that is already aborted rejects the call with its reason', async () => {
    const signal = AbortSignal.abort(reason);
    await expect(model.generate(prompt, { signal })).rejects.toBe(reason);
    await expect(model.stream(prompt, { signal }).next()).rejects.toBe(reason);
    await expect(model.logits(prompt, { signal })).rejects.toBe(reason);
    await expect(
      loadModel(fixtureFolder('wide'), { cacheDir: join(cacheDir, 'never'), signal }),
    ).rejects.toBe(reason);
  });

  test('that is aborted during a call stops it but not the model', async () => {
    for (const delay of [0, 1, 5]) {
      const controller = new AbortController();
      const runs = Array.from({ length: 30 }, () =>
        model.generate(prompt, { maxTokens: 84, signal: controller.signal }),
      );
      setTimeout(() => controller.abort(reason), delay);
      const settled = await Promise.allSettled(runs);
      // 30 × 84 tokens take far longer than the delay.
      expect(settled.at(-1)).toEqual({ status: 'rejected', reason });
    }
    const { tokens } = await model.generate(prompt, { temperature: 0, maxTokens: 5 });
    expect([...tokens]).toEqual(await greedyTokens(prompt, 5));
  });

  test('stops a stream between its parts', async () => {
    const controller = new AbortController();
    using session = model.createSession();
    const received: number[] = [];
    const loop = async () => {
      for await (const { tokens } of session.stream(prompt, {
        maxTokens: 84,
        temperature: 0,
        signal: controller.signal,
      })) {
        received.push(...tokens);
        controller.abort(reason);
      }
    };
    await expect(loop()).rejects.toBe(reason);
    expect(received.length).toBeLessThan(84);
    expect(await greedyTokens(prompt, received.length)).toEqual(received);
    expect([...session.tokens]).toEqual([...prompt, ...received]);
  });

  test('may be shared by many calls', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    const { signal } = new AbortController();
    await model.generate(
      Array.from({ length: 20 }, () => prompt),
      { maxTokens: 1, signal },
    );
    await new Promise(setImmediate); // warnings are emitted one event loop turn later
    process.off('warning', listen);
    expect(warnings).toEqual([]);
  });

  test('stops a call after another call with the same signal has ended', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const long = model.generate(prompt, { maxTokens: 90, temperature: 0, signal });
    await model.generate(prompt, { maxTokens: 1, signal });
    controller.abort(new Error('enough'));
    await expect(long).rejects.toThrow('enough');
  });

  test('has no listener left after the calls', async () => {
    const { signal } = new AbortController();
    await Promise.all([
      model.generate([prompt, prompt], { maxTokens: 1, signal }),
      model.logits(prompt, { signal }),
    ]);
    for await (const _ of model.stream(prompt, { maxTokens: 5, signal })) break;
    await model.generate([model.config.vocabSize], { signal }).catch(() => {});
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('without a reason rejects the call with an AbortError', async () => {
    const error = await model.generate(prompt, { signal: AbortSignal.abort() }).catch((e) => e);
    expect(error.name).toBe('AbortError');
  });
});

describe('a list of prompts', () => {
  test('returns one result per prompt, in order', async () => {
    const options = { seed: 4, maxTokens: 6 };
    const prompts = [[1, 2], [3], Uint32Array.of(4, 5, 6)];
    const together = await model.generate(prompts, options);
    expect(together).toHaveLength(3);
    for (const [index, one] of prompts.entries()) {
      const alone = await model.generate(one, options);
      expect(together[index]?.tokens).toEqual(alone.tokens);
      expect(together[index]?.usage).toEqual(alone.usage);
    }
    expect((await textModel.generate(['a b', 'c'], options)).map(({ text }) => text)).toEqual([
      (await textModel.generate('a b', options)).text,
      (await textModel.generate('c', options)).text,
    ]);
  });

  test('fails as a whole if one of them does', async () => {
    await failure('TOKEN_OUT_OF_RANGE', () => model.generate([[1], [509]]));
    await failure('INVALID_ARGUMENT', () => model.generate([[1], []]));
    const sparse: number[][] = [[1]];
    sparse[2] = [2];
    await failure('INVALID_ARGUMENT', () => model.generate(sparse));
  });
});

describe('a list of prompts with one that fails', () => {
  afterEach(() => vi.restoreAllMocks());

  /** Watches the calls for the single prompts: their outcomes, and how many sessions are disposed. */
  function watchSessions() {
    const dispose = vi.spyOn(Session.prototype, 'dispose');
    const generate = vi.spyOn(Session.prototype, 'generateWith' as 'generate');
    return {
      outcomes: () => generate.mock.settledResults.map(({ type }) => type),
      reasons: () => generate.mock.settledResults.map(({ value }) => value),
      disposed: () => dispose.mock.calls.length,
    };
  }

  test('stops the others, then rejects with the first failure', async () => {
    const watched = watchSessions();
    const prompts = [[1], [2], [model.config.vocabSize], [3]];
    const error = await failure('TOKEN_OUT_OF_RANGE', () =>
      model.generate(prompts, { maxTokens: 90, temperature: 0 }),
    );
    expect(watched.outcomes()).toEqual(['rejected', 'rejected', 'rejected', 'rejected']);
    for (const reason of watched.reasons()) expect(reason).toBe(error);
    expect(watched.disposed()).toBe(4);
  });

  test('computes only a few tokens for the others', async () => {
    const { stdout, stderr } = await runNode(
      `const { addon } = require(args.addon);
       let tokens = 0;
       const { openModel } = addon();
       addon().openModel = async (...given) => {
         const native = await openModel(...given);
         return {
           describe: () => native.describe(),
           dispose: () => native.dispose(),
           createSession: () => {
             const session = native.createSession();
             return {
               dispose: () => session.dispose(),
               generate: (keep, prompt, options, onToken, onStep, cancellation) =>
                 session.generate(keep, prompt, options, (token) => {
                   tokens++;
                   onToken(token);
                 }, onStep, cancellation),
             };
           },
         };
       };
       const model = await gpt2.loadModel(args.folder, args.loading);
       const count = async (prompts) => {
         tokens = 0;
         await model.generate(prompts, { maxTokens: 90, temperature: 0 }).catch(() => {});
         await new Promise((resolve) => setTimeout(resolve, 500));
         return tokens;
       };
       console.log(await count([[1], [2]]), await count([[1], [1e9], [2]]));`,
      {
        addon: packageEntry.replace('index.js', 'native/addon.js'),
        folder: fixtureFolder('wide'),
        loading,
      },
    );
    const [all, beforeTheFailure] = stdout.split(' ').map(Number);
    expect({ all, stderr }).toEqual({ all: 180, stderr: '' });
    expect(beforeTheFailure).toBeLessThan(20);
  });

  test('stops all of them if its signal is aborted', async () => {
    const watched = watchSessions();
    const controller = new AbortController();
    const reason = new Error('enough');
    setImmediate(() => controller.abort(reason));
    const { signal } = controller;
    await expect(
      model.generate([[1], [2], [3]], { maxTokens: 90, temperature: 0, signal }),
    ).rejects.toBe(reason);
    expect(watched.outcomes()).toEqual(['rejected', 'rejected', 'rejected']);
    expect(watched.disposed()).toBe(3);
  });
});

describe('an empty prompt', () => {
  test('of text starts from <|endoftext|>', async () => {
    const options = { seed: 8, maxTokens: 10 };
    const { tokens, usage } = await textModel.generate('', options);
    expect(tokens).toEqual((await textModel.generate([50256], options)).tokens);
    expect(usage.promptTokens).toBe(1);
    expect([...(await textModel.logits('')).tokens]).toEqual([50256]);
  });

  test('of tokens is rejected if there is nothing to continue', async () => {
    await failure('INVALID_ARGUMENT', () => model.generate([]));
    await failure('INVALID_ARGUMENT', () => model.stream([]).next());
    await failure('INVALID_ARGUMENT', () => model.logits([]));
    using session = model.createSession();
    await failure('INVALID_ARGUMENT', () => session.generate(new Uint32Array(0)));
  });

  test('of text requires a tokenizer', async () => {
    await failure('TOKENIZER_MISSING', () => model.generate(''));
  });
});

describe('text', () => {
  test('is decoded from the tokens, and empty without a tokenizer', async () => {
    const { text, tokens } = await textModel.generate('Hello', { seed: 5, maxTokens: 20 });
    expect(text).toBe(textModel.tokenizer.decode(tokens));
    expect(text).not.toBe('');
    expect((await model.generate(prompt, { maxTokens: 3 })).text).toBe('');
  });

  test('as a prompt is equivalent to its tokens', async () => {
    const options = { seed: 5, maxTokens: 10 };
    const { tokens } = await textModel.generate('Hello world', options);
    expect(tokens).toEqual((await textModel.generate([15496, 995], options)).tokens);
    expect((await textModel.logits('Hello world')).data).toEqual(
      (await textModel.logits([15496, 995])).data,
    );
  });
});

test('timings are in order and consistent with tokensPerSecond', async () => {
  const { timings, usage } = await model.generate(prompt, { maxTokens: 30, temperature: 0 });
  const { promptMs, firstTokenMs, totalMs, tokensPerSecond } = timings;
  expect(promptMs).toBeGreaterThan(0);
  expect(firstTokenMs).toBeGreaterThanOrEqual(promptMs);
  expect(totalMs).toBeGreaterThan(firstTokenMs);
  expect(tokensPerSecond).toBeCloseTo(29_000 / (totalMs - firstTokenMs), 6);
  expect(usage).toEqual({ promptTokens: 12, cachedTokens: 0, completionTokens: 30 });
  expect((await model.generate(prompt, { maxTokens: 1 })).timings.tokensPerSecond).toBe(0);
});

/** The distribution that the options define: temperature, then top-k, then top-p. */
function probabilities(
  logits: Float32Array,
  { temperature = 1, topK = 0, topP = 1 }: GenerateOptions,
): number[] {
  const largest = Math.max(...logits);
  const ordered = Array.from(logits, (logit, token) => ({
    token,
    weight: Math.exp((logit - largest) / temperature),
  })).sort((a, b) => b.weight - a.weight);
  const kept = topK > 0 ? ordered.slice(0, topK) : ordered;
  const total = kept.reduce((sum, { weight }) => sum + weight, 0);
  let mass = 0;
  const nucleus = kept.filter(({ weight }) => {
    const isNeeded = topP === 1 || mass < topP * total;
    mass += weight;
    return isNeeded;
  });
  const nucleusTotal = nucleus.reduce((sum, { weight }) => sum + weight, 0);
  const result = new Array<number>(logits.length).fill(0);
  for (const { token, weight } of nucleus) result[token] = weight / nucleusTotal;
  return result;
}

/**
 * Pearson's χ², as the number of standard deviations above its mean. It exceeds 4 in fewer than one in a thousand
 * samples. Rare outcomes are pooled.
 */
function chiSquareExcess(counts: number[], expected: number[], draws: number): number {
  const cells: [count: number, expected: number][] = [];
  let rest: [number, number] = [0, 0];
  for (const [i, probability] of expected.entries()) {
    const [count, mean] = [counts[i] as number, probability * draws];
    if (mean >= 5) cells.push([count, mean]);
    else rest = [rest[0] + count, rest[1] + mean];
  }
  if (rest[1] >= 1) cells.push(rest);
  expect(cells.length).toBeGreaterThan(1);
  const statistic = cells.reduce((sum, [count, mean]) => sum + (count - mean) ** 2 / mean, 0);
  const freedom = cells.length - 1;
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}
