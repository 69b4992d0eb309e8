// gpt2 generate --prompts: its parts, and the command on files, pipes and terminals.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, createWriteStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BatchCounts, progressText } from '../dist/cli/batch-progress.js';
import { byteLines } from '../dist/cli/byte-lines.js';
import { mapInOrder } from '../dist/cli/map-in-order.js';
import { countPrompts, type PromptLine, promptLines } from '../dist/cli/prompt-lines.js';
import type { Generation, Model } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { runProcess } from './node-process.js';
import { hasPseudoTerminals, PseudoTerminal } from './pseudo-terminal.js';
import { freshFolder } from './temporary-folder.js';
import { writeTextModel } from './text-model.js';

const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
const { folder, environment, checkpoint, open: openModel, file } = writeTextModel();
let model: Model;

beforeAll(async () => {
  model = await openModel();
});
afterAll(() => model.dispose());

const newFile = () => join(freshFolder(folder), 'results.jsonl');
const batchArgs = (args: string[]) => [command, 'generate', '-m', checkpoint, '-n', '4', ...args];
const batch = (args: string[], input = '') =>
  runProcess(batchArgs(['--prompts', ...args]), { environment, input });

type Result = Partial<Generation> & {
  index: number;
  id?: unknown;
  prompt?: unknown;
  error?: { code: string; message: string };
  run: { seed: number; settings: string };
};

const parse = (lines: string): Result[] =>
  lines
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('the lines of a stream', () => {
  const linesOf = async (chunks: string[], maxBytes?: number) =>
    (
      await collect(byteLines(Readable.from(chunks.map((chunk) => Buffer.from(chunk))), maxBytes))
    ).map(({ bytes, byteLength, isWhole }) => [bytes?.toString(), byteLength, isWhole]);

  test('extend over chunks, and the last may lack its line break', async () => {
    expect(await linesOf(['a', 'b\n', '\nc\nd', 'e'])).toEqual([
      ['ab', 2, true],
      ['', 0, true],
      ['c', 1, true],
      ['de', 2, false],
    ]);
    expect(await linesOf(['a\n'])).toEqual([['a', 1, true]]);
    expect(await linesOf([])).toEqual([]);
  });

  test('are not kept beyond a limit', async () => {
    expect(await linesOf(['abc', 'd', 'e\nabc\n'], 3)).toEqual([
      [undefined, 5, true],
      ['abc', 3, true],
    ]);
  });
});

describe('prompts', () => {
  const read = async (...paths: string[]) => await collect(promptLines({ paths }));
  const prompts = (lines: PromptLine[]) => lines.map(({ request }) => request?.prompt);

  test('are the lines of a text file that are not blank, as they are', async () => {
    const path = file('p.txt', '\ufeffOne \r\n\n  \t\r\n two\u2028three\n"four"');
    const lines = await read(path);
    expect(prompts(lines)).toEqual(['One ', ' two\u2028three', '"four"']);
    expect(lines.map(({ index, place }) => [index, place])).toEqual([
      [0, `${path}:1`],
      [1, `${path}:4`],
      [2, `${path}:5`],
    ]);
  });

  test('of several files are counted on; the extension decides the format', async () => {
    const paths = [
      file('p.txt', '"a"\n'),
      file('p.JSONL', '"b"\n\n[1,2]\n'),
      file('p.ndjson', '""'),
    ];
    const lines = await read(...paths);
    expect(prompts(lines)).toEqual(['"a"', 'b', [1, 2], '']);
    expect(lines.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(await countPrompts({ paths })).toBe(4);
    expect(await countPrompts({ paths: [...paths, '-'] })).toBeUndefined();
  });

  test('have the options and the id of their object', async () => {
    const [line] = await read(file('p.jsonl', '{"prompt":"a","id":null,"topK":3}'));
    expect(line?.request).toEqual({ prompt: 'a', id: null, options: { topK: 3 } });
  });

  test.each([
    ['malformed JSON', '{"prompt":\n', /Expected JSON but received "\{\\"prompt\\":": /],
    ['other bytes than UTF-8', Buffer.from([0x22, 0xff, 0x22]), /UTF-8/],
    ['too many bytes', `"${'x'.repeat(2 ** 24)}"`, /at most 16777216 bytes/],
  ])('cannot be read from %s', async (_, content, message) => {
    const lines = await read(file('p.jsonl', content));
    expect(lines).toHaveLength(1);
    expect(lines[0]?.failure).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    });
  });
});

describe('mapInOrder', () => {
  const limits = { parallel: 2, window: 4 };

  /** Items that say how many were read, and work that is finished one by one. */
  function setUp(count: number) {
    const started: number[] = [];
    const finish = new Map<number, () => void>();
    const fail = new Map<number, (error: Error) => void>();
    async function* items() {
      for (let item = 0; item < count; item++) yield item;
    }
    const work = (item: number) =>
      new Promise<string>((resolve, reject) => {
        started.push(item);
        finish.set(item, () => resolve(`result ${item}`));
        fail.set(item, reject);
      });
    return { started, finish, fail, results: mapInOrder(items(), limits, work) };
  }
  /** Lets all that is not blocked go on. */
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };

  test('yields in the order of the items, whichever is finished first', async () => {
    const { started, finish, results } = setUp(3);
    const all = collect(results);
    await settle();
    expect(started).toEqual([0, 1]);
    finish.get(1)?.();
    await settle();
    expect(started).toEqual([0, 1, 2]);
    finish.get(2)?.();
    finish.get(0)?.();
    expect(await all).toEqual(['result 0', 'result 1', 'result 2']);
  });

  test('reads no further than the window while the first is unfinished', async () => {
    const { started, finish, results } = setUp(100);
    const first = results.next();
    for (const item of [1, 2, 3]) {
      await settle();
      finish.get(item)?.();
    }
    await settle();
    expect(started).toEqual([0, 1, 2, 3]);
    finish.get(0)?.();
    expect(await first).toEqual({ value: 'result 0', done: false });
    await results.return();
    await settle();
    expect(started.length).toBeLessThan(10);
  });

  test('yields a result while the next item has not arrived', async () => {
    async function* items() {
      yield 1;
      await new Promise(() => {});
    }
    const results = mapInOrder(items(), limits, async (item) => item * 10);
    expect(await results.next()).toEqual({ value: 10, done: false });
  });

  test('throws what the work throws, after the results before', async () => {
    const { finish, fail, results } = setUp(3);
    const first = results.next();
    await settle();
    fail.get(1)?.(new Error('one'));
    finish.get(0)?.();
    expect(await first).toEqual({ value: 'result 0', done: false });
    await expect(results.next()).rejects.toThrow('one');
  });

  test('throws what reading throws, after the results', async () => {
    async function* items() {
      yield 1;
      throw new Error('unreadable');
    }
    const results = mapInOrder(items(), limits, async (item) => item);
    expect(await results.next()).toEqual({ value: 1, done: false });
    await expect(results.next()).rejects.toThrow('unreadable');
  });
});

describe('results', () => {
  test('are in the order of the prompts, and those of the API', async () => {
    const longFirst = Array.from({ length: 12 }, (_, index) => ({
      prompt: `Prompt ${index}`,
      maxTokens: 24 - 2 * index,
    }));
    const path = file('p.jsonl', longFirst.map((line) => JSON.stringify(line)).join('\n'));
    const { stdout, stderr, exitCode } = await batch([path, '--seed', '7', '--top-k', '9']);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    const results = parse(stdout);
    expect(results.map(({ index }) => index)).toEqual(longFirst.map((_, index) => index));
    for (const [index, { prompt, maxTokens }] of longFirst.entries()) {
      const { seed, ...own } = results[index] as Result;
      const expected = await model.generate(prompt, { maxTokens, seed, topK: 9 });
      expect(own).toEqual({
        index,
        prompt,
        text: expected.text,
        tokens: [...expected.tokens],
        offsets: [...expected.offsets],
        finishReason: 'length',
        usage: { promptTokens: expected.usage.promptTokens, completionTokens: maxTokens },
        run: { seed: 7, settings: expect.stringMatching(/^[0-9a-f]{12}$/) },
      });
    }
  });

  test('do not depend on the number of prompts in flight', async () => {
    const path = file('p.txt', 'One\nOne\nTwo two\nThree\n');
    const [one, two] = await Promise.all(
      ['1', '3'].map((count) => batch([path, '--seed', '3', '--parallel', count])),
    );
    expect(one?.stdout).toBe(two?.stdout);
    const [first, second] = parse(one?.stdout ?? '');
    expect(first?.prompt).toBe(second?.prompt);
    expect(first?.text).not.toBe(second?.text);
  });

  test('follow the options of their lines', async () => {
    const lines = [
      '"Hello"',
      '{"prompt":"Hello","seed":5,"id":{"a":[1]}}',
      '{"prompt":[15496],"seed":5,"n":2,"maxTokens":2,"logprobs":true,"id":""}',
      '{"prompt":"Hello","forcedTokens":[11],"logitBias":{"13":-1e999}}',
    ];
    const { stdout, exitCode } = await batch(['-', '--input-format', 'jsonl'], lines.join('\n'));
    expect(exitCode).toBe(0);
    const [plain, seeded, samples, forced] = parse(stdout);
    expect(plain).not.toHaveProperty('id');
    const expected = await model.generate('Hello', { seed: 5, maxTokens: 4 });
    expect(seeded).toMatchObject({ id: { a: [1] }, seed: 5, text: expected.text });
    expect(samples).toMatchObject({ id: '', prompt: [15496], samples: [{ seed: 5 }, { seed: 6 }] });
    expect(samples?.samples?.[1]?.logprobs).toHaveLength(2);
    expect(samples?.samples?.[1]).not.toHaveProperty('timings');
    expect(forced?.tokens?.[0]).toBe(11);
    expect(new Set([plain, seeded, samples, forced].map((line) => line?.run.seed)).size).toBe(1);
  });

  test('of prompts that fail are errors, and the others go on', async () => {
    const lines = [
      '{"prompt":"a","maxTokns":4,"id":7}',
      '{nope',
      '{"prompt":["a"]}',
      '{"promt":"a"}',
      '42',
      '[50257]',
      `"${'long '.repeat(100)}"`,
      '{"prompt":"a","n":2,"bestOf":1}',
      '{"prompt":"a","onPart":1}',
      '"good"',
    ];
    const path = file('p.jsonl', lines.join('\n'));
    const { stdout, stderr, exitCode } = await batch([path]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^gpt2: 9 of 10 prompts failed\. The first: .*p\.jsonl:1: .*Did you mean "maxTokens"\? \[UNKNOWN_OPTION\]\n$/,
    );
    const results = parse(stdout);
    expect(results.map(({ index }) => index)).toEqual(lines.map((_, index) => index));
    expect(results.map(({ error }) => error?.code)).toEqual([
      'UNKNOWN_OPTION',
      ...new Array(4).fill('INVALID_ARGUMENT'),
      'TOKEN_OUT_OF_RANGE',
      'CONTEXT_OVERFLOW',
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      undefined,
    ]);
    expect(results[0]).toMatchObject({ id: 7, prompt: 'a' });
    expect(results[2]?.prompt).toEqual(['a']);
    expect(results[3]?.error?.message).toMatch(
      /received the keys "promt"\. Did you mean "prompt"\?/,
    );
  });

  test('of a model without a tokenizer are ids', async () => {
    const args = [
      'generate',
      '-m',
      fixtureFolder('odd-heads'),
      '-n',
      '3',
      '--seed',
      '1',
      '--prompts',
      '-',
    ];
    const { stdout, exitCode } = await runProcess([command, ...args, '--input-format', 'jsonl'], {
      environment,
      input: '[1,2]\n"text"\n',
    });
    expect(exitCode).toBe(1);
    const [ids, text] = parse(stdout);
    expect(ids).toMatchObject({
      text: '',
      tokens: [expect.any(Number), expect.any(Number), expect.any(Number)],
    });
    expect(text?.error?.code).toBe('TOKENIZER_MISSING');
  });

  test('of no prompts are none', async () => {
    const result = await batch([file('p.txt', '\n')]);
    expect(result).toMatchObject({ stdout: '', stderr: '', exitCode: 0 });
  });
});

test('the example of docs/command-line.md is true', async () => {
  const text = readFileSync(join(__dirname, '..', 'docs', 'command-line.md'), 'utf8');
  const [input = '', line] = ['jsonl', 'json'].map(
    (language) => new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm').exec(text)?.[1],
  );
  const args = ['generate', '--prompts', file('prompts.jsonl', input), '--seed', '1'];
  const { stdout, exitCode } = await runProcess([command, ...args, '--max-tokens', '20'], {
    environment,
  });
  expect(exitCode).toBe(0);
  expect(stdout.split('\n')).toHaveLength(input.split('\n').length);
  expect(`${stdout.split('\n')[1]}\n`).toBe(line);
});

describe('a run is refused', () => {
  const prompts = () => file('p.txt', 'Hello\n');
  test.each<[string, () => string[], RegExp, number]>([
    ['if a file does not exist', () => [prompts(), 'none.txt'], /none\.txt: .*FILE_NOT_FOUND/, 1],
    ['if an option is invalid', () => [prompts(), '--top-p', '2'], /topP.*INVALID_ARGUMENT/, 2],
    ['with --tokens', () => [prompts(), '--tokens', '1'], /--prompts.*cannot be used/, 2],
    ['with --resume alone', () => [prompts(), '--resume'], /Expected --output with --resume/, 2],
    [
      'with --overwrite alone',
      () => [prompts(), '--overwrite'],
      /Expected --output with --over/,
      2,
    ],
    ['with --parallel 0', () => [prompts(), '--parallel', '0'], /at least 1/, 2],
    ['if the output has contents', () => [prompts(), '-o', prompts()], /--resume goes on/, 2],
    ['if the output is a folder', () => [prompts(), '-o', folder], /FILE_UNWRITABLE/, 1],
  ])('%s', async (_, args, message, exitCode) => {
    const result = await batch(args());
    expect(result).toMatchObject({ stdout: '', exitCode });
    expect(result.stderr).toMatch(message);
  });

  test.each(['--output', '--parallel', '--input-format', '--resume'])(
    'without --prompts but with %s',
    async (option) => {
      const value = { '--output': 'o', '--parallel': '2', '--input-format': 'lines' }[option] ?? [];
      const args = ['Hello', option, value].flat();
      const { stderr, exitCode } = await runProcess(batchArgs(args), { environment });
      expect(exitCode).toBe(2);
      expect(stderr).toContain(`Expected --prompts with ${option}`);
    },
  );

  test('with a prompt and --prompts', async () => {
    const { stderr, exitCode } = await runProcess(batchArgs(['Hello', '--prompts', prompts()]));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('Expected a prompt or --prompts but received both: "Hello"');
  });
});

/** A run that reads its prompts from a pipe, which stays open. */
class OpenRun {
  readonly child: ChildProcess;
  readonly ended: Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }>;
  stdout = '';
  stderr = '';

  constructor(args: string[]) {
    this.child = spawn(process.execPath, batchArgs(['--prompts', '-', ...args]), {
      env: { ...process.env, ...environment },
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) =>
      this.child.on('close', (exitCode, signal) => resolve({ exitCode, signal })),
    );
  }

  write(lines: string): void {
    this.child.stdin?.write(lines);
  }

  /** Waits until a condition holds. Fails if the run ends before. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      if (this.child.exitCode !== null) throw new Error(`The run has ended: ${this.stderr}`);
      await wait(5);
    }
  }
}

const lineCount = (path: string) =>
  existsSync(path) ? readFileSync(path, 'utf8').split('\n').length - 1 : 0;

describe('--output', () => {
  const lines = ['One', 'Two', 'Two', '{"prompt":"Three","maxTokns":1}', '"Four"'];
  const input = lines
    .map((line) => (line.startsWith('{') ? line : JSON.stringify(line)))
    .join('\n');

  test('has each result before the next prompt arrives', async () => {
    const output = newFile();
    const run = new OpenRun(['-o', output]);
    for (const count of [1, 2, 3]) {
      run.write('Hello\n');
      await run.until(() => lineCount(output) === count);
    }
    run.child.stdin?.end();
    expect(await run.ended).toEqual({ exitCode: 0, signal: null });
    expect(readdirSync(join(output, '..'))).toEqual(['results.jsonl']);
  });

  test('of a run that was killed is completed by --resume, byte by byte', async () => {
    const output = newFile();
    const run = new OpenRun(['-o', output]);
    run.write('One\nTwo\nTwo\n');
    await run.until(() => lineCount(output) === 3);
    run.child.kill('SIGKILL');
    expect(await run.ended).toEqual({ exitCode: null, signal: 'SIGKILL' });

    const path = file('p.txt', 'One\nTwo\nTwo\nTwo\nThree\n');
    const resumed = await batch([path, '-o', output, '--resume']);
    expect(resumed).toMatchObject({ stdout: '', stderr: '', exitCode: 0 });
    const seed = String(parse(readFileSync(output, 'utf8'))[0]?.run.seed);
    const whole = await batch([path, '--seed', seed]);
    expect(readFileSync(output, 'utf8')).toBe(whole.stdout);
    expect(readdirSync(join(output, '..'))).toEqual(['results.jsonl']);
  });

  test('that ends within a line is cut and completed by --resume', async () => {
    const path = file('p.jsonl', input);
    const whole = newFile();
    expect((await batch([path, '-o', whole])).exitCode).toBe(1);
    const bytes = readFileSync(whole);
    const lastLine = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
    const seed = ['--seed', String(parse(bytes.toString())[0]?.run.seed)];
    for (const length of [
      0,
      5,
      lastLine - 1,
      lastLine,
      lastLine + 1,
      bytes.length - 1,
      bytes.length,
    ]) {
      const torn = file('torn.jsonl', bytes.subarray(0, length));
      const { stdout, stderr, exitCode } = await batch([path, '-o', torn, '--resume', ...seed]);
      expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 });
      expect(stderr).toMatch(/^gpt2: 1 of 5 prompts failed/);
      expect(readFileSync(torn, 'utf8')).toBe(bytes.toString());
    }
  });

  test('is begun by --resume if it does not exist, and begun anew by --overwrite', async () => {
    const path = file('p.txt', 'One\nTwo\n');
    const output = newFile();
    const args = [path, '-o', output, '--seed', '1'];
    expect((await batch([...args, '--resume'])).exitCode).toBe(0);
    const first = readFileSync(output, 'utf8');
    appendFileSync(output, 'anything');
    expect((await batch([...args, '--overwrite'])).exitCode).toBe(0);
    expect(readFileSync(output, 'utf8')).toBe(first);
  });

  test.each<[string, (path: string) => string[], RegExp]>([
    [
      'another prompt',
      () => [file('p.txt', 'One\nTree\n')],
      /:2: .*p\.txt:2, whose prompt is "Tree", but found "Two"/,
    ],
    ['fewer prompts', () => [file('p.txt', 'One\n')], /:2: expected at most 1 results/],
    ['other options', (path) => [path, '--top-k', '3'], /:1: .*with other options/],
    ['another seed', (path) => [path, '--seed', '2'], /:1: .*with --seed 2, but found 1;/],
    [
      'another id',
      () => [file('p.jsonl', '{"prompt":"One","id":"a"}\n"Two"')],
      /:1: .*whose id is "a", but found undefined/,
    ],
  ])('of %s is not resumed', async (_, args, message) => {
    const path = file('p.txt', 'One\nTwo\n');
    const output = newFile();
    await batch([path, '-o', output, '--seed', '1']);
    const before = readFileSync(output, 'utf8');
    const { stderr, exitCode } = await batch([...args(path), '-o', output, '--resume']);
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(2);
    expect(readFileSync(output, 'utf8')).toBe(before);
  });

  test.each([
    ['a text', 'Once\nupon\n', /:1: it is not JSON \[INVALID_FILE\]/],
    ['other JSON', '{"a":1}\n', /:1: it is not a result of .* \[INVALID_FILE\]/],
    ['null', 'null\n', /:1: it is not a result of .* \[INVALID_FILE\]/],
  ])('that is %s is not resumed', async (_, content, message) => {
    const output = file('o.jsonl', content);
    const { stderr, exitCode } = await batch([file('p.txt', 'One\n'), '-o', output, '--resume']);
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(1);
    expect(readFileSync(output, 'utf8')).toBe(content);
  });

  test('is written by one run at a time', async () => {
    const output = newFile();
    const run = new OpenRun(['-o', output]);
    run.write('One\n');
    await run.until(() => lineCount(output) === 1);
    const second = await batch(['-', '-o', output, '--resume'], 'One\n');
    expect(second.stderr).toMatch(/another run of gpt2 is writing to it \[FILE_UNWRITABLE\]/);
    run.child.stdin?.end();
    expect(await run.ended).toEqual({ exitCode: 0, signal: null });
  });

  test.runIf(existsSync('/dev/full'))('ends the run if it cannot be written', async () => {
    const run = new OpenRun(['-o', '/dev/full']);
    run.write('One\n');
    expect(await run.ended).toEqual({ exitCode: 1, signal: null });
    expect(run.stderr).toMatch(/the disk is full.* \[FILE_UNWRITABLE\]\n$/);
  });
});

describe('a run that is stopped', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    'by %s keeps its results and says how to go on',
    async (signal) => {
      const output = newFile();
      const run = new OpenRun(['-o', output]);
      run.write('One\nTwo\n');
      await run.until(() => lineCount(output) === 2);
      run.child.kill(signal);
      expect(await run.ended).toEqual({ exitCode: null, signal });
      expect(run.stderr).toBe(
        `gpt2: stopped after 2 results in ${output}; the same command with --resume goes on after them\n`,
      );
      expect(readdirSync(join(output, '..'))).toEqual(['results.jsonl']);
    },
  );

  test('while it generates finishes nothing', async () => {
    const output = newFile();
    const long =
      '{"prompt":[1],"maxTokens":1000000000,"overflow":"slide","ignoreEndOfText":true}\n';
    const run = new OpenRun(['-o', output, '--input-format', 'jsonl', '--overwrite']);
    run.write(`"One"\n${long}"Two"\n`);
    await run.until(() => lineCount(output) === 1);
    run.child.kill('SIGINT');
    expect(await run.ended).toEqual({ exitCode: null, signal: 'SIGINT' });
    expect(run.stderr).toContain('stopped after 1 result in');
    expect(run.stderr).toContain('with --resume instead of --overwrite');
    expect(lineCount(output)).toBe(1);
  });

  test('by a closed pipe is no failure', async () => {
    const run = new OpenRun([]);
    run.child.stdout?.destroy();
    run.write('One\nTwo\n');
    expect(await run.ended).toEqual({ exitCode: 0, signal: null });
    expect(run.stderr).toBe('');
  });
});

describe('the progress', () => {
  const counts: BatchCounts = {
    done: 120,
    begun: 0,
    kept: 20,
    total: 1000,
    failed: 2,
    tokens: 6400,
    seconds: 20,
  };

  test('says what is done, the time left, the speed and the failures', () => {
    expect(progressText(counts, 79)).toBe('120/1000  2:56 left  320 tokens/s  2 failed');
    expect(progressText({ ...counts, seconds: 2000 }, 79)).toContain('  4:53:20 left  3 tokens/s');
    expect(progressText({ ...counts, total: undefined }, 79)).toBe(
      '120 done  320 tokens/s  2 failed',
    );
    expect(progressText({ ...counts, done: 20, tokens: 0, failed: 0 }, 79)).toBe('20/1000');
  });

  test('fits any number of columns', () => {
    expect(progressText(counts, 39)).toBe('120/1000  2:56 left  320 tokens/s');
    for (let columns = 1; columns < 60; columns++) {
      expect(progressText(counts, columns).length).toBeLessThanOrEqual(columns);
    }
  });

  describe.runIf(hasPseudoTerminals)('in a terminal', () => {
    const open = (args: string[]) =>
      new PseudoTerminal(batchArgs(['--prompts', ...args]), {
        columns: 40,
        rows: 12,
        environment,
        folder,
      });

    test('is one line, which is removed at the end', async () => {
      const [pipe, output] = [join(freshFolder(folder), 'prompts'), newFile()];
      execFileSync('mkfifo', [pipe]);
      const terminal = open([pipe, '-o', output]);
      const prompts = createWriteStream(pipe);
      prompts.write('One\n');
      await terminal.until(({ text }) => /^1 done/m.test(text));
      prompts.write('Two\n');
      await terminal.until(({ text }) => /^2 done {2}\d+ tokens\/s\n*$/.test(text));
      prompts.end();
      expect(await terminal.end()).toBe(0);
      expect(terminal.text.trim()).toBe('');
      expect(lineCount(output)).toBe(2);
    });

    test('leaves the lines of results whole', async () => {
      const terminal = open(['-']);
      terminal.press('One\n');
      await terminal.until(({ text }) => /^1 done/m.test(text));
      terminal.press('\x04');
      expect(await terminal.end()).toBe(0);
      const shown = terminal.text.replaceAll('\n', '');
      expect(shown).toMatch(/\{"index":0,"prompt":"One".*"run":\{[^}]*\}\}$/);
    });

    test('is removed by Ctrl-C, which exits with 130', async () => {
      const terminal = open(['-', '-o', newFile()]);
      terminal.press('One\n');
      await terminal.until(({ text }) => /^1 done/m.test(text));
      terminal.press('\x03');
      expect(await terminal.end()).toBe(130);
      expect(terminal.text).not.toContain('done');
      expect(terminal.text.replaceAll('\n', '')).toContain('stopped after 1 result');
    });
  });
});
