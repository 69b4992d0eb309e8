// gpt2 complete: its screen, what it does with keys, and the command in a pseudo-terminal.

import { join } from 'node:path';
import { Terminal } from '@xterm/headless';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  type CompleteView,
  drawScreen,
  type Screen,
  type ScreenSize,
} from '../dist/cli/complete-screen.js';
import { Draft } from '../dist/cli/draft.js';
import { LatestLogits } from '../dist/cli/latest-logits.js';
import { stringWidth } from '../dist/cli/string-width.js';
import { wrapText } from '../dist/cli/text-columns.js';
import { visibleText, visibleToken } from '../dist/cli/visible-text.js';
import { loadModel, type Model } from '../dist/index.js';
import { f32Tensor, writeTextCheckpoint } from './checkpoint-folder.js';
import { fixtureFolder } from './golden.js';
import { runProcess } from './node-process.js';
import { hasPseudoTerminals, PseudoTerminal } from './pseudo-terminal.js';
import { readSafetensors, writeSafetensors } from './safetensors-file.js';
import { temporaryFolder } from './temporary-folder.js';

const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
const folder = temporaryFolder();
let model: Model;

beforeAll(async () => {
  model = await loadModel();
});
afterAll(() => model.dispose());

const view: CompleteView = {
  text: 'Once upon a time there was a little girl who lived in a small house.',
  continuations: [
    { label: '␣She', probability: 0.5 },
    { label: '⏎', probability: 0.25 },
    { label: '\\xe2\\x80', probability: 0.125 },
    { label: '␣uncharacteristically', probability: 0.0001 },
  ],
  chosen: 1,
  status: '15 of 256 tokens · gpt2',
};

/** Whether an output has colours, or is bold or dim. */
const isStyled = (output: string) => output.split('\x1b[').some((part) => /^\d+m/.test(part));

/** The terminal after it has received a screen. */
async function display({ lines }: Screen, { columns, rows }: ScreenSize): Promise<Terminal> {
  const terminal = new Terminal({ cols: columns, rows, allowProposedApi: true });
  const text = `\x1b[?7l${lines.map((line, row) => `\x1b[${row + 1};1H${line}`).join('')}`;
  await new Promise<void>((resolve) => terminal.write(text, resolve));
  return terminal;
}

async function show(view: CompleteView, size: ScreenSize, hasColours = false): Promise<string[]> {
  const { buffer } = await display(drawScreen(view, size, hasColours), size);
  return Array.from({ length: size.rows }, (_, row) =>
    (buffer.active.getLine(row)?.translateToString(true) ?? '').trimEnd(),
  );
}

describe('the screen', () => {
  test('has the list beside the text in 80 columns', async () => {
    expect(await show(view, { columns: 80, rows: 8 })).toEqual([
      'Once upon a time there was a little girl  │   ␣She          50.0 %  ███████████',
      'who lived in a small house.               │ ▸ ⏎             25.0 %  █████▌',
      '                                          │   \\xe2\\x80      12.5 %  ██▊',
      '                                          │   ␣uncharacte… < 0.1 %',
      '                                          │',
      '                                          │',
      '15 of 256 tokens · gpt2',
      '↑↓ choose  Enter take  Ctrl-Z undo  Ctrl-J new line  Esc leave',
    ]);
  });

  test('has the list below the text in 40 columns', async () => {
    expect(await show(view, { columns: 40, rows: 12 })).toEqual([
      'Once upon a time there was a little',
      'girl who lived in a small house.',
      '',
      '',
      '────────────────────────────────────────',
      '  ␣She            50.0 %  █████████████',
      '▸ ⏎               25.0 %  ██████▌',
      '  \\xe2\\x80        12.5 %  ███▎',
      '  ␣uncharacteri… < 0.1 %',
      '15 of 256 tokens · gpt2',
      '↑↓ choose  Enter take  Ctrl-Z undo',
      'Ctrl-J new line  Esc leave',
    ]);
  });

  test.each([80, 40])('shows the same without colours, in %d columns', async (columns) => {
    const size = { columns, rows: 16 };
    expect(isStyled(drawScreen(view, size, true).lines.join(''))).toBe(true);
    expect(isStyled(drawScreen(view, size, false).lines.join(''))).toBe(false);
    expect(await show(view, size, true)).toEqual(await show(view, size, false));
  });

  test('marks nothing while the model computes', async () => {
    const lines = await show({ ...view, chosen: undefined }, { columns: 80, rows: 8 });
    expect(lines.join('')).not.toContain('▸');
  });

  test('shows the end of a long text, with the cursor behind it', async () => {
    const text = Array.from({ length: 100 }, (_, line) => `Line ${line}`).join('\n');
    const size = { columns: 80, rows: 8 };
    expect((await show({ ...view, text }, size))[5]).toMatch(/^Line 99 /);
    expect(drawScreen({ ...view, text }, size, false).cursor).toEqual({ row: 5, column: 7 });
  });

  test('scrolls the list to the chosen continuation', async () => {
    const continuations = Array.from({ length: 100 }, (_, index) => ({
      label: `token${index}`,
      probability: 0.01,
    }));
    const lines = await show({ ...view, continuations, chosen: 70 }, { columns: 80, rows: 8 });
    expect(lines[5]).toContain('▸ token70');
    expect(lines[0]).toContain('token65');
  });

  test.each([
    [
      'wide characters',
      '森の中に小さな家がありました。むかしむかし、あるところに、おじいさんとおばあさんがいました。',
    ],
    ['emoji', '👩‍👩‍👧‍👦 🇩🇪 ❤️ 👍🏽 '.repeat(12)],
    ['combining marks', 'Z̴̢͓a̸l̵g̶o̷ '.repeat(30)],
    ['Devanagari', 'क्षत्रिय नमस्ते '.repeat(12)],
    ['Arabic', 'كان يا ما كان '.repeat(12)],
  ])('keeps its columns beside %s', async (_, text) => {
    const size = { columns: 80, rows: 12 };
    const { buffer } = await display(drawScreen({ ...view, text }, size, true), size);
    const cells = (row: number) => {
      const line = buffer.active.getLine(row);
      return Array.from({ length: 38 }, (_, index) => line?.getCell(42 + index)?.getChars()).join(
        '',
      );
    };
    for (let row = 0; row < 10; row++) expect(cells(row)).toMatch(/^│/);
    expect(cells(1)).toMatch(/^│▸⏎ 25\.0 %█/);
  });

  test('fits into any terminal', () => {
    const text = `${view.text} 森の中に👩‍👩‍👧 ${'x'.repeat(200)}`;
    for (const columns of [1, 2, 3, 7, 10, 20, 39, 69, 70, 71, 100, 300]) {
      for (const rows of [1, 2, 3, 4, 5, 7, 8, 9, 24, 60]) {
        const { lines, cursor } = drawScreen({ ...view, text }, { columns, rows }, false);
        expect(lines.length, `${columns} × ${rows}`).toBe(rows);
        expect(cursor.row).toBeLessThan(rows);
        for (const line of lines) {
          let column = 0;
          for (const part of line.split('\x1b[')) {
            const [, position] = /^(\d+)G/.exec(part) ?? [];
            if (position !== undefined) column = Number(position) - 1;
            else
              expect(column + stringWidth(part.replace(/^K/, '')), line).toBeLessThanOrEqual(
                columns,
              );
          }
        }
      }
    }
  });
});

describe('the text', () => {
  test.each([
    ['a long word', 'one two threefour', 6, ['one ', 'two ', 'threef', 'our']],
    ['spaces at the end of a line', 'one    two', 5, ['one  ', 'two']],
    ['line breaks', 'one\n\ntwo\n', 5, ['one', '', 'two', '']],
    ['wide characters', '森の中に', 5, ['森の', '中に']],
    ['whole emoji', '👩‍👩‍👧👩‍👩‍👧', 3, ['👩‍👩‍👧', '👩‍👩‍👧']],
    ['a character that is wider than a line', '森の', 1, ['森', 'の']],
    ['nothing', '', 5, ['']],
  ])('is wrapped: %s', (_, text, width, lines) => {
    expect(wrapText(text, width)).toEqual(lines);
  });

  test('has no control characters', () => {
    expect(visibleText('a\x1b[2J\x9b\x07\r\nb\tc')).toBe(
      'a\\u001b[2J\\u009b\\u0007\\u000d\nb    c',
    );
    // They change the direction of what follows, or are invisible.
    expect(visibleText('\u202e\u2066\u00ad\u2028\ud800')).toBe(
      '\\u202e\\u2066\\u00ad\\u2028\\ud800',
    );
    expect(visibleText('👩‍👩‍👧 e\u0301')).toBe('👩‍👩‍👧 e\u0301');
  });
});

describe('a token', () => {
  test.each([
    ['␣the', Buffer.from(' the')],
    ['␣␣⏎⇥', Buffer.from('  \n\t')],
    ['\\u001b[31m', Buffer.from('\x1b[31m')],
    ['\\u00a0\\u200d\\ufeff', Buffer.from('\u00a0\u200d\ufeff')],
    ['\\u{e0041}', Buffer.from('\u{e0041}')],
    ['␣\\xe2\\x80', Buffer.from([0x20, 0xe2, 0x80])],
    ['\\x99s', Buffer.from([0x99, 0x73])],
    ['�', Buffer.from('\ufffd')],
    ['◌\u0301', Buffer.from('\u0301')],
  ])('is shown as %s', (label, bytes) => {
    expect(visibleToken(bytes)).toBe(label);
  });

  test('of the vocabulary drives no terminal and has a width', () => {
    for (let token = 0; token < model.config.vocabSize; token++) {
      const label = visibleToken(model.tokenizer.decodeToken(token));
      if (!/^[^\p{C}\p{Z}]+$/u.test(label) || stringWidth(label) < 1) {
        expect.fail(`the token ${token} is shown as ${JSON.stringify(label)}`);
      }
    }
  });
});

describe('the draft', () => {
  const draftOf = (text: string) => new Draft(model.tokenizer, text);
  const type = (draft: Draft, text: string) => {
    for (const character of text) draft.type(character);
  };

  test('undoes tokens, words, pastes and deletions', () => {
    const draft = draftOf('He');
    type(draft, ' shook his');
    draft.take(1182); // " head"
    draft.paste(', and\n');
    draft.deleteCharacter();
    draft.deleteCharacter();
    const versions = [draft.text];
    for (let step = 0; step < 6; step++) {
      draft.undo();
      versions.push(draft.text);
    }
    expect(versions).toEqual([
      'He shook his head, an',
      'He shook his head, and\n',
      'He shook his head',
      'He shook his',
      'He shook',
      'He',
      'He',
    ]);
  });

  test('deletes whole characters', () => {
    const draft = draftOf('e\u0301👩‍👩‍👧');
    draft.deleteCharacter();
    expect(draft.text).toBe('e\u0301');
    draft.deleteCharacter();
    draft.deleteCharacter();
    expect(draft.text).toBe('');
  });

  test('joins tokens that are parts of a character', () => {
    const draft = draftOf('Hi');
    const tokens = model.tokenizer.encode('🦜');
    expect(tokens.length).toBeGreaterThan(2);
    for (const token of tokens.subarray(0, -1)) draft.take(token);
    expect(draft.text).toBe('Hi');
    expect(draft.unfinished.length).toBeGreaterThan(1);
    expect(draft.tokens()).toEqual([17250, ...tokens.subarray(0, -1)]);
    draft.take(tokens.at(-1) as number);
    expect({ text: draft.text, unfinished: draft.unfinished.length }).toEqual({
      text: 'Hi🦜',
      unfinished: 0,
    });
    draft.undo();
    draft.type('!');
    expect(draft.text).toBe('Hi\ufffd!');
  });

  test('begins the next token with a space at its end', () => {
    const draft = draftOf('He shook his ');
    expect(draft.tokens()).toEqual([...model.tokenizer.encode('He shook his')]);
    draft.take(1182);
    expect(draft.text).toBe('He shook his head');
  });

  test('has the special tokens that are written in it, and one if it is empty', () => {
    expect(draftOf('').tokens()).toEqual([50256]);
    expect(draftOf('Hi<|endoftext|>').tokens()).toEqual([17250, 50256]);
  });
});

describe('the logits', () => {
  test('are computed for changed tokens only', async () => {
    using session = model.createSession();
    const evaluate = vi.spyOn(session, 'evaluate');
    const latest = new LatestLogits(session);
    const texts = ['He shook his', 'He shook his head', 'He shook', 'He shook', 'She'];
    for (const text of texts) {
      const tokens = [...model.tokenizer.encode(text)];
      expect(await latest.after(() => tokens)).toEqual((await model.logits(text)).data);
    }
    const counts = evaluate.mock.calls.map(([input]) => input.length);
    expect(counts).toEqual([3, 1, 1, 1, 1]);
  });

  test('are those of the latest text', async () => {
    using session = model.createSession();
    const latest = new LatestLogits(session);
    const texts = ['He', 'He shook', 'He shook his'];
    const all = await Promise.all(
      texts.map((text) => latest.after(() => [...model.tokenizer.encode(text)])),
    );
    expect(all).toEqual([undefined, undefined, (await model.logits('He shook his')).data]);
  });
});

describe('outside a terminal', () => {
  test('fails with the command to use instead', async () => {
    const { stdout, stderr, exitCode } = await runProcess([command, 'complete', 'Hello']);
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 2 });
    expect(stderr).toBe(
      'gpt2: Expected a terminal with a cursor on stdin and stdout, but stdin and stdout are not one. "gpt2 generate" writes to files and pipes. [INVALID_ARGUMENT]\n',
    );
  });
});

// The pseudo-terminals need util-linux, which macOS and Windows lack.
describe.runIf(hasPseudoTerminals)('in a terminal', () => {
  const open = (
    args: string[],
    options: Partial<ConstructorParameters<typeof PseudoTerminal>[1]> = {},
  ) =>
    new PseudoTerminal([command, 'complete', ...args], {
      columns: 80,
      rows: 24,
      folder,
      ...options,
      environment: { GPT2_NATIVE_CACHE: join(folder, 'cache'), ...options.environment },
    });

  const [down, left, esc, ctrlC] = ['\x1b[B', '\x1b[D', '\x1b', '\x03'] as const;
  test('takes tokens, undoes, follows the size, and prints the text', async () => {
    const terminal = open(['He shook']);
    await terminal.until(({ text }) => /^He shook +│ ▸ ␣his /m.test(text));
    expect(terminal.isAlternateScreen).toBe(true);
    terminal.press(' his');
    await terminal.until(({ text }) => /^He shook his +│ ▸ ␣head +45\.\d %/m.test(text));
    expect(terminal.cursor).toEqual({ row: 0, column: 12 });
    terminal.press(down);
    await terminal.until(({ text }) => text.includes('▸ ␣lips'));
    terminal.press('\r');
    await terminal.until(
      ({ text }) => /^He shook his lips +│ ▸ /m.test(text) && text.includes('4 of 256'),
    );
    terminal.press(left);
    await terminal.until(({ text }) => text.includes('▸ ␣head') && text.includes('3 of 256'));
    terminal.resize(40, 20);
    await terminal.until(({ lines }) => lines[8] === '─'.repeat(40));
    expect(terminal.lines[0]).toBe('He shook his');
    expect(terminal.lines[9]).toMatch(/^▸ ␣head +45\.\d % {2}█+$/);
    terminal.press('\t');
    await terminal.until(
      ({ lines, text }) => lines[0] === 'He shook his head' && text.includes('4 of 256'),
    );
    terminal.press(esc);
    expect(await terminal.end()).toBe(0);
    expect(terminal.isAlternateScreen).toBe(false);
    expect(terminal.text.trimEnd()).toMatch(/\nHe shook his head$/);
  });

  test('keeps pasted line breaks, and has no colours with NO_COLOR', async () => {
    const terminal = open([], { columns: 40, rows: 20, environment: { NO_COLOR: '1' } });
    await terminal.until(({ text }) => /▸ .* %/.test(text));
    terminal.press('\x1b[200~One\r\ntwo \x1b[31mred\x1b[201~\nthree');
    await terminal.until(({ lines }) => lines[2] === 'three' && / %/.test(lines.join('')));
    expect(terminal.lines.slice(0, 2)).toEqual(['One', 'two \\u001b[31mred']);
    terminal.press(ctrlC);
    expect(await terminal.end()).toBe(0);
    expect(terminal.text.trimEnd()).toMatch(/\nOne\ntwo \\u001b\[31mred\nthree$/);
    expect(isStyled(terminal.output)).toBe(false);
  });

  test('evaluates the end of a text that is longer than the context', async () => {
    const terminal = open(['--context-length', '4', 'one two three four five six']);
    await terminal.until(({ text }) => text.includes('the last 4 of 6 tokens'));
    terminal.press('\x04');
    expect(await terminal.end()).toBe(0);
  });

  test.each(['SIGTERM', 'SIGHUP', 'SIGINT'] as const)(
    'restores the screen on %s',
    async (signal) => {
      const terminal = open(['Hello']);
      await terminal.until(({ text }) => /▸ .* %/.test(text));
      terminal.kill(signal);
      expect(await terminal.end()).not.toBe(0);
      expect(terminal.isAlternateScreen).toBe(false);
    },
  );

  test('restores the screen and prints the text if the model fails', async () => {
    const damaged = writeTextCheckpoint(join(folder, 'not-finite'));
    const weights = join(damaged, 'model.safetensors');
    const tensors = new Map(readSafetensors(weights));
    writeSafetensors(
      weights,
      tensors.set('ln_f.bias', f32Tensor([8], new Array(8).fill(Number.NaN))),
    );
    const terminal = open(['Hello', '-m', damaged]);
    expect(await terminal.end()).toBe(1);
    expect(terminal.isAlternateScreen).toBe(false);
    expect(terminal.text).toMatch(/^Hello\ngpt2: .*\[NOT_FINITE\]/s);
  });

  test('needs a tokenizer', async () => {
    const terminal = open(['-m', fixtureFolder('odd-heads')]);
    expect(await terminal.end()).toBe(1);
    expect(terminal.text).toMatch(/\[TOKENIZER_MISSING\]/);
  });

  test('needs a cursor', async () => {
    const terminal = open([], { environment: { TERM: 'dumb' } });
    expect(await terminal.end()).toBe(2);
    expect(terminal.text).toMatch(/TERM is "dumb"/);
  });
});
