// gpt2 score: its parts, and the command on files, pipes and terminals.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { progressText } from '../dist/cli/batch-progress.js';
import { colouredText } from '../dist/cli/coloured-text.js';
import { PageContent, pageOf } from '../dist/cli/score-page.js';
import { tokenTable } from '../dist/cli/score-table.js';
import { classOf, rankLimits, surprisalLimits } from '../dist/cli/surprisal.js';
import type { Model, Score } from '../dist/index.js';
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

const scoreArgs = (args: string[]) => [command, 'score', '-m', checkpoint, ...args];
const score = (args: string[], input = '') => runProcess(scoreArgs(args), { environment, input });

/** The scores of one token of each class of surprisal, which are " a", " b", … */
function classScores(bits: readonly number[]): Pick<Score, 'text' | 'offsets' | 'logprobs'> {
  return {
    text: bits.map((_, index) => ` ${String.fromCharCode(97 + index)}`).join(''),
    offsets: Uint32Array.from(bits, (_, index) => 2 * index),
    logprobs: Float32Array.from(bits, (value) => -value * Math.LN2),
  };
}

describe('the parts', () => {
  test('classes include their lower limits', () => {
    expect([0, 0.99, 1, 5, 11.9, 12, 40].map((bits) => classOf(bits, surprisalLimits))).toEqual([
      0, 0, 1, 2, 4, 5, 5,
    ]);
    expect([0, 1, 9, 10, 999, 1000].map((rank) => classOf(rank, rankLimits))).toEqual([
      0, 1, 1, 2, 3, 4,
    ]);
  });

  test('a text is coloured by classes, without the spaces', () => {
    const scores = classScores([0.5, 2, 4, 7, 10, 15]);
    expect(colouredText(scores, 16)).toBe(
      ' a \x1b[36mb\x1b[m \x1b[32mc\x1b[m \x1b[33md\x1b[m \x1b[31me\x1b[m \x1b[1;37;41mf\x1b[m',
    );
    expect(colouredText(scores, 256)).toContain('\x1b[38;5;130md\x1b[m');
  });

  test('controls in a text do not reach the terminal', () => {
    const text = 'a\x1b[2Jb\u202ec';
    const scores = { text, offsets: Uint32Array.of(0), logprobs: Float32Array.of(0) };
    expect(colouredText(scores, 16)).toBe('a\\u001b[2Jb\\u202ec');
  });

  test('a text before the first scored token has no colour', () => {
    const scores = { text: 'ab', offsets: Uint32Array.of(1), logprobs: Float32Array.of(-20) };
    expect(colouredText(scores, 16)).toBe('a\x1b[1;37;41mb\x1b[m');
  });

  test('a table aligns characters of two columns', () => {
    const scores = {
      tokens: Uint32Array.of(0, 1),
      logprobs: Float32Array.of(Math.log(0.5), Math.log(0.25)),
      ranks: Uint32Array.of(0, 12),
      entropies: Float32Array.of(0, Math.LN2),
      topTokens: Uint32Array.of(0, 0),
      topLogprobs: Float32Array.of(Math.log(0.5), Math.log(0.5)),
    };
    expect(tokenTable(scores, (token) => ['日', 'ab'][token] ?? '')).toBe(
      `token  bits  probability  rank  entropy  likeliest
日     1.00       50.0 %     0     0.00  日 50.0 %
ab     2.00       25.0 %    12     1.00  日 50.0 %
`,
    );
  });

  test('the progress counts texts in flight', () => {
    const counts = { done: 0, kept: 0, total: 2, failed: 0, tokens: 500, seconds: 10 };
    expect(progressText({ ...counts, begun: 0 }, 79)).toBe('0/2  50 tokens/s');
    expect(progressText({ ...counts, begun: 0.5 }, 79)).toBe('0/2  0:30 left  50 tokens/s');
    expect(progressText({ ...counts, done: 1, begun: 1 }, 79)).toBe('1/2  0:00 left  50 tokens/s');
  });

  test('nothing in a text or a name ends the script or the title of a page', async () => {
    const text = '</script><script>alert(1)</script><!-- <script> {{style}} $& </title><b>';
    const scores = await model.score(text, { topK: 2 });
    const page = new PageContent('m', 2, (token) => model.tokenizer.decode([token]));
    page.add(text, scores);
    const html = await pageOf(page.data);
    expect(html).not.toContain('alert(1)<');
    expect(html).not.toContain('<b>');
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html.match(/<\/title>/g)).toHaveLength(1);
    const [, json] = /<script type="application\/json" id="data">(.*)<\/script>/.exec(html) ?? [];
    expect(JSON.parse(json ?? '')).toEqual(JSON.parse(JSON.stringify(page.data)));
    expect(page.data.texts[0]?.pieces.join('')).toBe(text);
  });
});

describe('on files and pipes', () => {
  test('prints a row of figures for each file', async () => {
    const paths = [file('a.txt', 'Once upon a time\n'), file('b.txt', '\ufeffThe sea')];
    const { stdout, stderr, exitCode } = await score(paths);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect(head?.trim().split(/ {2,}/)).toEqual([
      ...['tokens', 'perplexity', 'bits/byte', 'top 10', 'top 100', 'top 1,000', 'text'],
    ]);
    const { perplexity, tokenCount } = await model.score('The sea');
    expect(rows).toHaveLength(2);
    expect(rows[1]?.trim().split(/ {2,}/)).toMatchObject({
      0: String(tokenCount),
      1: perplexity.toFixed(2),
      6: paths[1],
    });
  });

  test.each([[[]], [['-']]])('reads stdin for %j', async (args) => {
    const { stdout, stderr, exitCode } = await score(args, 'Once upon a time');
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout).toMatch(/ {2}stdin\n$/);
  });

  test('--json prints the fields of a Score', async () => {
    const text = 'Once upon a time\nthere was 日本';
    const path = file('a.txt', text);
    const { stdout } = await score([
      path,
      '--json',
      '--top',
      '2',
      '--window',
      '8',
      '--stride',
      '3',
    ]);
    const expected = await model.score(text, { topK: 2, contextLength: 8, stride: 3 });
    const { run, file: name, ...printed } = JSON.parse(stdout);
    expect(name).toBe(path);
    expect(run.settings).toMatch(/^[0-9a-f]{12}$/);
    const asArrays = JSON.stringify(expected, (_, value) =>
      ArrayBuffer.isView(value) ? [...(value as Float32Array)] : value,
    );
    expect(printed).toEqual(JSON.parse(asArrays));
  });

  test('--no-start-from-end-of-text leaves the first token out', async () => {
    const path = file('a.txt', 'Once upon a time');
    const { stdout } = await score([path, '--json', '--no-start-from-end-of-text']);
    const { tokenCount } = await model.score('Once upon a time');
    expect(JSON.parse(stdout).tokenCount).toBe(tokenCount - 1);
  });

  test('--lines scores each line that is not blank', async () => {
    const path = file('a.txt', 'One\n\nTwo\r\n');
    const { stdout } = await score([path, '--lines', '--json']);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ line, text }) => [line, text])).toEqual([
      [1, 'One'],
      [3, 'Two'],
    ]);
    expect((await score([path, '--lines'])).stdout).toContain(`  ${path}:3\n`);
  });

  test('--table prints a row for each token, with headings for several texts', async () => {
    const path = file('a.txt', 'Once upon\n');
    const one = (await score([path, '--table'])).stdout.trimEnd().split('\n');
    const { tokenCount } = await model.score('Once upon\n');
    expect(one[0]).toMatch(/^token +bits +probability +rank +entropy$/);
    expect(one).toHaveLength(tokenCount + 1);
    expect(one.at(-1)).toMatch(/^⏎ +\d+\.\d\d +[\d.e-]+ % +\d+ +\d+\.\d\d$/);
    const two = (await score([path, '-', '--table', '--top', '3'], 'Two')).stdout;
    expect(two).toContain(`==> ${path} <==\ntoken`);
    expect(two).toContain('\n\n==> stdin <==\ntoken');
    expect(two).toContain('  likeliest\n');
  });

  test('a text of one unscored token has no figures', async () => {
    const [token = 0] = model.tokenizer.encode('the');
    const text = model.tokenizer.decode([token]);
    const { stdout } = await score(['--no-start-from-end-of-text'], text);
    expect(stdout.split('\n')[1]?.trim().split(/ {2,}/)).toEqual([
      ...['0', '–', '–', '–', '–', '–', 'stdin'],
    ]);
  });
});

test('a text that cannot be scored does not end the run, nor one that goes on', async () => {
  const [a, empty, b] = [file('a.txt', 'One'), file('e.txt', ''), file('b.txt', 'Two')];
  const table = await score([a, empty, folder, b]);
  expect(table.stdout.match(/\/[ab]\.txt$/gm)).toEqual(['/a.txt', '/b.txt']);
  expect(table.stderr).toMatch(
    /^gpt2: 2 of 4 texts failed. The first: .*\/e\.txt: Expected a text but the file is empty \[INVALID_FILE\]\n$/,
  );
  expect(table.exitCode).toBe(1);

  const output = join(freshFolder(folder), 'out.jsonl');
  await score([a, empty, b, '-o', output]);
  const whole = readFileSync(output, 'utf8');
  const lines = whole.trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).error?.code)).toEqual([
    ...[undefined, 'INVALID_FILE', undefined],
  ]);
  writeFileSync(output, `${lines.slice(0, 2).join('\n')}\n`);
  const resumed = await score([a, empty, b, '-o', output, '--resume']);
  expect(resumed.stderr).toContain('1 of 3 texts failed');
  expect(resumed.exitCode).toBe(1);
  expect(readFileSync(output, 'utf8')).toBe(whole);
});

describe('errors', () => {
  const html = join(folder, 'page.html');
  test.each<[name: string, args: () => string[], stderr: RegExp, exitCode: number]>([
    [
      'a missing file',
      () => ['nowhere.txt'],
      /nowhere\.txt: there is no such file \[FILE_NOT_FOUND\]/,
      1,
    ],
    ['a folder', () => [folder], /EISDIR.*\[FILE_UNREADABLE\]/, 1],
    [
      'a binary file',
      () => [file('b.bin', Buffer.of(0xff, 0xfe, 0))],
      /b\.bin: Expected a text in UTF-8.*\[INVALID_FILE\]/,
      1,
    ],
    [
      'an empty file',
      () => [file('e.txt', '')],
      /e\.txt: Expected a text but the file is empty \[INVALID_FILE\]/,
      1,
    ],
    [
      'a line of other bytes',
      () => ['--lines', file('b.txt', Buffer.from('\n\xff\n', 'latin1'))],
      /b\.txt:2: Expected a line in UTF-8 \[INVALID_FILE\]/,
      1,
    ],
    [
      '--html with blank lines only',
      () => ['--lines', '--html', html, file('e.txt', '\n')],
      /Expected a text for the page in .*, but there is none \[INVALID_FILE\]/,
      1,
    ],
    [
      '--html into no folder',
      () => ['--html', join(folder, 'no', 'page.html'), file('a.txt', 'a')],
      /page\.html: cannot be written.*\[FILE_UNWRITABLE\]/,
      1,
    ],
    [
      '--top without a place for them',
      () => ['--top', '3'],
      /Expected --table, --json, --output or --html with --top \[INVALID_ARGUMENT\]/,
      2,
    ],
    ['--resume without --output', () => ['--resume'], /Expected --output with --resume/, 2],
    ['two forms', () => ['--json', '--table'], /'--table' cannot be used with option '--json'/, 2],
    [
      'a long stride',
      () => ['--window', '4', '--stride', '5', file('a.txt', 'a')],
      /Expected stride to be .*\[INVALID_ARGUMENT\]/,
      2,
    ],
  ])('%s', async (_, args, stderr, exitCode) => {
    const result = await score(args());
    expect(result.stderr).toMatch(stderr);
    expect(result).toMatchObject({ exitCode, stdout: '' });
    expect(existsSync(html)).toBe(false);
  });

  test('a page does not replace its text', async () => {
    const path = file('a.txt', 'One');
    const { stderr, exitCode } = await score([path, '--html', path]);
    expect(stderr).toContain('Expected another file for --html than a text');
    expect(exitCode).toBe(2);
    expect(readFileSync(path, 'utf8')).toBe('One');
  });

  test('a model without a tokenizer', async () => {
    const args = [command, 'score', '-m', fixtureFolder('odd-heads'), file('a.txt', 'One')];
    const { stderr, exitCode } = await runProcess(args, { environment });
    expect(stderr).toMatch(/\[TOKENIZER_MISSING\]$/m);
    expect(exitCode).toBe(1);
  });

  test('the texts before a bad one are printed', async () => {
    const { stdout, exitCode } = await score([file('a.txt', 'One'), file('e.txt', '')]);
    expect(stdout).toMatch(/ {2}\S+a\.txt\n$/);
    expect(exitCode).toBe(1);
  });
});

describe('interrupted runs', () => {
  const texts = () => file('texts.txt', 'One\nTwo\nThree\nFour\n');
  const newFile = () => join(freshFolder(folder), 'scores.jsonl');

  test('are resumed to the bytes of a whole run', async () => {
    const [path, whole, cut] = [texts(), newFile(), newFile()];
    await score([path, '--lines', '-o', whole]);
    const bytes = readFileSync(whole);
    writeFileSync(cut, bytes);
    truncateSync(cut, bytes.indexOf('\n') + 20);
    const { stderr, exitCode } = await score([path, '--lines', '-o', cut, '--resume']);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(readFileSync(cut)).toEqual(bytes);
  });

  test('are not resumed with other texts, other options or results of another command', async () => {
    const [path, output] = [texts(), newFile()];
    await score([path, '--lines', '-o', output]);
    const resumed = async (...args: string[]) =>
      (await score([path, '--lines', '-o', output, '--resume', ...args])).stderr;
    expect(await resumed('--top', '2')).toMatch(
      /:1: expected the result of \S+:1, but found one with other options/,
    );
    writeFileSync(path, 'One\n2\n');
    expect(await resumed()).toMatch(
      /:2: expected the result of \S+:2, whose text is "2", but found "Two"/,
    );
    writeFileSync(output, '{}\n');
    expect(await resumed()).toContain('it is not a result of gpt2 score --output');
  });

  test('by a signal keep the results before it, and say how to go on', async () => {
    const output = newFile();
    const child = spawn(process.execPath, scoreArgs([texts(), '-', '-o', output]), {
      env: { ...process.env, ...environment },
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = once(child, 'close');
    while (!existsSync(output) || readFileSync(output, 'utf8') === '') await wait(20);
    child.kill('SIGINT');
    expect(await ended).toEqual([null, 'SIGINT']);
    expect(stderr).toBe(
      `gpt2: stopped after 1 result in ${output}; the same command with --resume goes on after them\n`,
    );
    expect(readFileSync(output, 'utf8')).toMatch(/^\{.*\}\n$/);
  });

  test('a file with contents is neither overwritten nor appended to', async () => {
    const output = newFile();
    appendFileSync(output, 'mine');
    const { stderr, exitCode } = await score([texts(), '-o', output]);
    expect(stderr).toContain('--resume goes on after them, --overwrite replaces them');
    expect(exitCode).toBe(2);
    expect(readFileSync(output, 'utf8')).toBe('mine');
  });
});

describe.runIf(hasPseudoTerminals)('in a terminal', () => {
  const open = (args: string[], extra: NodeJS.ProcessEnv = {}) =>
    new PseudoTerminal(scoreArgs(args), {
      columns: 100,
      rows: 20,
      environment: { ...environment, ...extra },
      folder,
    });

  test('shows the text in colours, its figures and the legend', async () => {
    const terminal = open([file('a.txt', 'Once upon a time\n')]);
    expect(await terminal.end()).toBe(0);
    expect(terminal.output).toContain('\x1b[38;5;160m');
    const lines = terminal.lines.filter((line) => line !== '');
    expect(lines[0]).toBe('Once upon a time');
    expect(lines[1]).toMatch(
      /^perplexity \d.* · .* bits per byte · \d+ tokens · top 10 .* %, top 100 /,
    );
    expect(lines[2]).toBe('surprisal in bits: <1  <3  <6  <9  <12  ≥12');
  });

  test('prints the table of figures with NO_COLOR', async () => {
    const terminal = open([file('a.txt', 'Once upon a time\n')], { NO_COLOR: '1' });
    expect(await terminal.end()).toBe(0);
    expect(terminal.output).not.toContain('\x1b');
    expect(terminal.text).toContain('tokens  perplexity  bits/byte');
  });

  test('does not wait for a text to be typed', async () => {
    const terminal = open([]);
    expect(await terminal.end()).toBe(2);
    expect(terminal.text).toContain('but stdin is a terminal [INVALID_ARGUMENT]');
  });
});
