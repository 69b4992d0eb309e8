import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadModel, type Model, type Session } from '../dist/index.js';
import { changedFixture } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { fixtureFolder, logitsError, readGolden } from './golden.js';
import { runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const cacheDir = temporaryFolder();
// One thread, since vitest runs test files in parallel and spinning threads would slow each other down.
const loading = { cacheDir, threads: 1 };
// 300 positions, so that the KV cache grows several times.
const golden = readGolden('bf16');
const { tokens, vocabSize } = golden;
let model: Model;

beforeAll(async () => {
  model = await loadModel(fixtureFolder('bf16'), { ...loading, type: 'f32' });
});
afterAll(() => model.dispose());

/** The golden logits of a range of positions. */
function goldenRows(from: number, to: number): Float32Array {
  return golden.logits.subarray(from * vocabSize, to * vocabSize);
}

function expectClose(actual: Float32Array, expected: Float32Array, bound = 1e-5): void {
  expect(logitsError(actual, expected, vocabSize).max).toBeLessThan(bound);
}

/** Expects the last logits to match a fresh evaluation of the session's tokens in one call. */
async function expectFreshLogits(session: Session, last: Float32Array): Promise<void> {
  expectClose(last, (await model.logits(session.tokens)).data);
}

/**
 * Runs the microtasks that pass a call to the addon. The result arrives in a later event loop task, so the call is
 * still running afterwards.
 */
async function callStarted(): Promise<void> {
  for (let i = 0; i < 20; i++) await null;
}

describe('the logits are the same for', () => {
  test('the whole prompt at once', async () => {
    using session = model.createSession();
    const { data } = await session.evaluate(tokens, { positions: 'all' });
    expectClose(data, golden.logits);
  });

  test('one token at a time', async () => {
    using session = model.createSession();
    const rows: number[] = [];
    for (const token of tokens) rows.push(...(await session.evaluate([token])).data);
    expectClose(Float32Array.from(rows), golden.logits);
  });

  test.each([[[7]], [[31, 1, 32]], [[64, 65]], [[255, 1, 44]], [[2, 100]]])(
    'chunks of %j',
    async (sizes) => {
      using session = model.createSession();
      const rows: number[] = [];
      for (let start = 0, i = 0; start < tokens.length; i++) {
        const chunk = tokens.slice(start, start + (sizes[i % sizes.length] as number));
        rows.push(...(await session.evaluate(chunk, { positions: 'all' })).data);
        start += chunk.length;
      }
      expectClose(Float32Array.from(rows), golden.logits);
    },
  );

  test('an array, a Uint32Array and an Int32Array', async () => {
    const [a, b, c] = await Promise.all([
      model.logits(tokens),
      model.logits(Uint32Array.from(tokens)),
      model.logits(Int32Array.from(tokens)),
    ]);
    expect(b).toEqual(a);
    expect(c).toEqual(a);
  });

  test('1, 2 and 3 threads, to the last bit', async () => {
    const all = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        await using one = await loadModel(fixtureFolder('wide'), {
          cacheDir,
          type: 'q8_0',
          threads,
        });
        expect(one.threads).toBe(threads);
        return (await one.logits(readGolden('wide').tokens.slice(0, 40), { positions: 'all' }))
          .data;
      }),
    );
    expect(all[1]).toEqual(all[0]);
    expect(all[2]).toEqual(all[0]);
  });
});

describe('positions', () => {
  test('default to the last', async () => {
    const byDefault = await model.logits(tokens.slice(0, 20));
    const last = await model.logits(tokens.slice(0, 20), { positions: 'last' });
    expect(byDefault.shape).toEqual([1, vocabSize]);
    expect(last).toEqual(byDefault);
    expectClose(byDefault.data, goldenRows(19, 20));
  });

  test('may be listed in any order, repeated, or empty', async () => {
    const positions = [270, 3, 3, 0, 299, 128];
    const { data, shape } = await model.logits(tokens, { positions });
    expect(shape).toEqual([6, vocabSize]);
    for (const [row, position] of positions.entries()) {
      expectClose(
        data.subarray(row * vocabSize, (row + 1) * vocabSize),
        goldenRows(position, position + 1),
      );
    }
    const none = await model.logits(tokens, { positions: [] });
    expect(none.shape).toEqual([0, vocabSize]);
    expect(none.data).toHaveLength(0);
  });

  test('count from the first token of the call, not of the session', async () => {
    using session = model.createSession();
    await session.evaluate(tokens.slice(0, 50));
    const { data } = await session.evaluate(tokens.slice(50, 60), {
      positions: [0, 9],
    });
    expectClose(data.subarray(0, vocabSize), goldenRows(50, 51));
    expectClose(data.subarray(vocabSize), goldenRows(59, 60));
    await failure('INVALID_ARGUMENT', () =>
      session.evaluate(tokens.slice(0, 10), { positions: [10] }),
    );
  });

  test('yield logits that the caller owns', async () => {
    using session = model.createSession();
    const first = await session.evaluate(tokens.slice(0, 10));
    const copy = first.data.slice();
    const second = await session.evaluate(tokens.slice(10, 20));
    expect(first.data).toEqual(copy);
    first.data.fill(0);
    expectClose(second.data, goldenRows(19, 20));
    expect([...first.tokens]).toEqual(tokens.slice(0, 10));
  });
});

describe('rewind and fork', () => {
  test('a rewound session continues as if the tokens had never been evaluated', async () => {
    using session = model.createSession();
    await session.evaluate(tokens);
    for (const length of [290, 257, 100, 64, 63, 33, 1, 0]) {
      session.rewind(length);
      expect(session.length).toBe(length);
      expect([...session.tokens]).toEqual(tokens.slice(0, length));
      const { data } = await session.evaluate([7, 8, 9].slice(0, 300 - length));
      await expectFreshLogits(session, data);
      session.rewind(length);
    }
    expectClose((await session.evaluate(tokens, { positions: 'all' })).data, golden.logits);
  });

  test('rewinding to the current length changes nothing', async () => {
    using session = model.createSession();
    await session.evaluate(tokens.slice(0, 5));
    session.rewind(5);
    expectClose((await session.evaluate(tokens.slice(5, 6))).data, goldenRows(5, 6));
  });

  test('a fork and its original are independent', async () => {
    using session = model.createSession();
    await session.evaluate(tokens.slice(0, 70));
    using fork = session.fork();
    expect([...fork.tokens]).toEqual(tokens.slice(0, 70));
    // Concurrently: neither may write into the other's KV cache.
    const [ofFork, ofSession] = await Promise.all([
      fork.evaluate([1, 2, 3]),
      session.evaluate(tokens.slice(70, 73)),
    ]);
    expectClose(ofSession.data, goldenRows(72, 73));
    await expectFreshLogits(fork, ofFork.data);
    expect([...fork.tokens]).toEqual([...tokens.slice(0, 70), 1, 2, 3]);
    expect([...session.tokens]).toEqual(tokens.slice(0, 73));
  });

  test('a fork outlives its original', async () => {
    const session = model.createSession();
    await session.evaluate(tokens.slice(0, 40));
    using fork = session.fork();
    session.dispose();
    expectClose((await fork.evaluate(tokens.slice(40, 41))).data, goldenRows(40, 41));
  });

  test('a fork of a rewound session has only the kept tokens', async () => {
    using session = model.createSession();
    await session.evaluate(tokens.slice(0, 90));
    session.rewind(33);
    using fork = session.fork();
    await session.evaluate([5, 5, 5]);
    expect(fork.length).toBe(33);
    expectClose((await fork.evaluate(tokens.slice(33, 34))).data, goldenRows(33, 34));
  });

  test('a fork of an empty session is empty', async () => {
    using session = model.createSession();
    using fork = session.fork();
    expect(fork.length).toBe(0);
    expectClose((await fork.evaluate(tokens.slice(0, 1))).data, goldenRows(0, 1));
  });

  test('any sequence of evaluate, generate, rewind and fork equals a fresh evaluation', async () => {
    type Step =
      | { kind: 'evaluate'; tokens: number[] }
      | { kind: 'generate'; count: number }
      | { kind: 'rewind'; share: number }
      | { kind: 'fork' };
    const token = fc.integer({ min: 0, max: vocabSize - 1 });
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({
        kind: fc.constant('evaluate' as const),
        tokens: fc.array(token, { minLength: 1, maxLength: 40 }),
      }),
      fc.record({
        kind: fc.constant('generate' as const),
        count: fc.integer({ min: 0, max: 5 }),
      }),
      fc.record({
        kind: fc.constant('rewind' as const),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      fc.constant({ kind: 'fork' as const }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 7 }), async (steps) => {
        let session = model.createSession();
        let expected: number[] = [];
        for (const step of steps) {
          if (step.kind === 'evaluate') {
            const { data } = await session.evaluate(step.tokens);
            expected.push(...step.tokens);
            await expectFreshLogits(session, data);
          } else if (step.kind === 'generate') {
            if (expected.length === 0) continue;
            const { tokens: added } = await session.generate([], {
              maxTokens: step.count,
              seed: 1,
            });
            expected.push(...added);
          } else if (step.kind === 'rewind') {
            expected = expected.slice(0, Math.floor(step.share * expected.length));
            session.rewind(expected.length);
          } else {
            const fork = session.fork();
            session.dispose();
            session = fork;
          }
          expect([...session.tokens]).toEqual(expected);
        }
        session.dispose();
      }),
      { numRuns: 40 },
    );
  });

  test('non-finite logits do not affect later calls', async () => {
    const poison = 5;
    const folder = changedFixture(join(cacheDir, 'poison'), 'own-head-no-bias', {
      change: (all) => {
        const embedding = all.get('wte.weight');
        embedding?.bytes.writeFloatLE(
          Number.POSITIVE_INFINITY,
          poison * 4 * (embedding.shape[1] as number),
        );
      },
    });
    await using poisoned = await loadModel(folder, loading);
    const right = (await poisoned.logits([1, 2, 3])).data;
    expect(right.every(Number.isFinite)).toBe(true);

    using session = poisoned.createSession();
    await failure('NOT_FINITE', () => session.generate([1, 2, 4, poison, poison]));
    expect(session.length).toBe(0);
    const again = await session.evaluate([1, 2, 3]);
    expect(logitsError(again.data, right, right.length).max).toBeLessThan(1e-5);

    using rewound = poisoned.createSession();
    await rewound.evaluate([1, 2]);
    await rewound.evaluate([poison, poison]);
    rewound.rewind(2);
    const { data } = await rewound.evaluate([3]);
    expect(logitsError(data, right, right.length).max).toBeLessThan(1e-5);
  });
});

describe('calls on one session', () => {
  test('reject at once if they are aborted while waiting', async () => {
    using session = model.createSession();
    const order: string[] = [];
    const first = session.evaluate(tokens).then(() => order.push('first'));
    const reason = new Error('enough');
    const controller = new AbortController();
    const second = session.evaluate([1], { signal: controller.signal }).catch((error) => {
      expect(error).toBe(reason);
      order.push('second');
    });
    await callStarted();
    controller.abort(reason);
    const third = session.generate('', { maxTokens: 0 }).then(() => order.push('third'));
    await Promise.all([first, second, third]);
    expect(order).toEqual(['second', 'first', 'third']);
    expect(session.length).toBe(300);
  });

  test('decide whether an empty prompt starts or continues only when they run', async () => {
    using session = model.createSession();
    const first = session.evaluate([7, 8]);
    const second = session.generate('', { maxTokens: 2, temperature: 0 });
    await first;
    const { tokens: continued, usage } = await second;
    expect(usage.promptTokens).toBe(2);
    expect([...session.tokens]).toEqual([7, 8, ...continued]);
  });

  test('run in order', async () => {
    using session = model.createSession();
    const calls = [
      session.evaluate(tokens.slice(0, 100)),
      session.evaluate(tokens.slice(100, 101)),
      session.evaluate(tokens.slice(101, 200)),
    ];
    expect(session.length).toBe(0);
    const [first, second, third] = await Promise.all(calls);
    expectClose(first?.data as Float32Array, goldenRows(99, 100));
    expectClose(second?.data as Float32Array, goldenRows(100, 101));
    expectClose(third?.data as Float32Array, goldenRows(199, 200));
    expect([...session.tokens]).toEqual(tokens.slice(0, 200));
  });

  test('continue after one that fails', async () => {
    using session = model.createSession();
    const first = session.evaluate(tokens.slice(0, 10));
    const overflowing = session.evaluate(tokens.slice(0, 295));
    const third = session.evaluate(tokens.slice(10, 12));
    await first;
    await failure('CONTEXT_OVERFLOW', () => overflowing);
    expectClose((await third).data, goldenRows(11, 12));
  });

  test('reject rewind and fork while another call is running', async () => {
    using session = model.createSession();
    await session.evaluate(tokens.slice(0, 3));
    const running = session.evaluate(tokens.slice(3, 10));
    await failure('SESSION_BUSY', () => session.rewind(0));
    await failure('SESSION_BUSY', () => session.fork());
    await running;
    session.rewind(2);
    expect(session.fork().length).toBe(2);
  });

  test('leave it unchanged if they fail', async () => {
    using session = model.createSession();
    await session.evaluate(tokens.slice(0, 30));
    const reason = new Error('enough');
    await failure('TOKEN_OUT_OF_RANGE', () => session.evaluate([1, vocabSize]));
    await failure('CONTEXT_OVERFLOW', () => session.evaluate(tokens.slice(0, 271)));
    await failure('CONTEXT_OVERFLOW', () => session.generate(tokens.slice(0, 271)));
    await failure('INVALID_ARGUMENT', () => session.evaluate([]));
    await failure('INVALID_ARGUMENT', () => session.evaluate([1], { positions: [1] }));
    await failure('INVALID_ARGUMENT', () => session.rewind(31));
    await failure('TOKENIZER_MISSING', () => session.evaluate('text'));
    await expect(session.evaluate([1], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    // The model is busy with other work, so that the call cannot finish before it is aborted.
    const busy = Array.from({ length: 10 }, () => model.logits(tokens));
    const aborted = session.evaluate(tokens.slice(0, 200), {
      signal: controller.signal,
    });
    await callStarted();
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    await Promise.all(busy);
    expect([...session.tokens]).toEqual(tokens.slice(0, 30));
    expectClose((await session.evaluate(tokens.slice(30, 31))).data, goldenRows(30, 31));
  });

  test('ignore an abort after their end', async () => {
    const controller = new AbortController();
    const { data } = await model.logits(tokens.slice(0, 5), {
      signal: controller.signal,
    });
    controller.abort();
    expectClose(data, goldenRows(4, 5));
  });
});

describe('disposal', () => {
  test('of a session happens at the end of its scope and makes its calls fail', async () => {
    let escaped: Session;
    {
      using session = model.createSession();
      await session.evaluate([1, 2]);
      escaped = session;
    }
    await failure('DISPOSED', () => escaped.evaluate([3]));
    await failure('DISPOSED', () => escaped.generate([3]));
    await failure('DISPOSED', () => escaped.stream([3]).next());
    await failure('DISPOSED', () => escaped.rewind(0));
    await failure('DISPOSED', () => escaped.fork());
    escaped.dispose();
    expect([...escaped.tokens]).toEqual([1, 2]);
  });

  test('of a session stops the running call and rejects the waiting ones', async () => {
    const session = model.createSession();
    const first = session.evaluate(tokens.slice(0, 299));
    const second = session.evaluate([1]);
    await callStarted();
    session.dispose();
    await failure('DISPOSED', () => first);
    await failure('DISPOSED', () => second);
    expectClose((await model.logits(tokens)).data, goldenRows(299, 300));
  });

  test('of a session at any moment is safe', async () => {
    // In a child process, since a failure would be a crash.
    const { stdout, signal, exitCode } = await runNode(
      `const model = await gpt2.loadModel(args.folder, args.loading);
       let stopped = 0;
       for (let turns = 0; turns < 12; turns++) {
         for (const call of ['evaluate', 'generate']) {
           const session = model.createSession();
           const settled = session[call]([1, 2, 3]).catch((error) => {
             if (error.code !== 'DISPOSED') throw error;
             stopped++;
           });
           for (let i = 0; i < turns; i++) await null;
           session.dispose();
           await settled;
         }
       }
       console.log(stopped > 3 ? 'safe' : 'nothing was stopped');`,
      { folder: fixtureFolder('odd-heads'), loading },
    );
    expect({ stdout, signal, exitCode }).toEqual({
      stdout: 'safe\n',
      signal: null,
      exitCode: 0,
    });
  });

  test('of a model rejects running and waiting calls', async () => {
    const doomed = await loadModel(fixtureFolder('wide'), loading);
    const session = doomed.createSession();
    const stream = session.stream([1], { maxTokens: 95, temperature: 0 });
    await stream.next();
    const calls = Array.from({ length: 5 }, () => doomed.generate([1], { maxTokens: 95 }));
    const queued = session.evaluate([2]);
    const disposed = doomed.dispose();
    for (const call of calls) await failure('DISPOSED', () => call);
    await failure('DISPOSED', async () => {
      for await (const _ of stream);
    });
    await failure('DISPOSED', () => queued);
    await disposed;
    expect(doomed.dispose()).toBe(doomed.dispose());
    session.dispose();
  });

  test('of a model happens at the end of its scope', async () => {
    let escaped: Model;
    {
      await using scoped = await loadModel(fixtureFolder('odd-heads'), loading);
      escaped = scoped;
    }
    await failure('DISPOSED', () => escaped.logits([1]));
  });
});

describe('the option contextLength', () => {
  test('lowers the number of tokens that fit, and nothing else', async () => {
    await using short = await loadModel(fixtureFolder('bf16'), {
      ...loading,
      type: 'f32',
      contextLength: 10,
    });
    expect(short.config.contextLength).toBe(10);
    const { data } = await short.logits(tokens.slice(0, 10), {
      positions: 'all',
    });
    expectClose(data, goldenRows(0, 10));
    const error = await failure('CONTEXT_OVERFLOW', () => short.logits(tokens.slice(0, 11)));
    expect(error.message).toContain('at most 10 tokens');
    using session = short.createSession();
    await session.evaluate(tokens.slice(0, 9));
    await failure('CONTEXT_OVERFLOW', () => session.evaluate([1, 2]));
    await session.evaluate([1]);
    await failure('CONTEXT_OVERFLOW', () => session.evaluate([1]));
  });

  test('may be at most the model’s own', async () => {
    await using own = await loadModel(fixtureFolder('odd-heads'), {
      ...loading,
      contextLength: 40,
    });
    expect(own.config.contextLength).toBe(40);
    const error = await failure('INVALID_ARGUMENT', () =>
      loadModel(fixtureFolder('odd-heads'), { ...loading, contextLength: 41 }),
    );
    expect(error.message).toMatch(/1 to 40.*41/);
  });
});
