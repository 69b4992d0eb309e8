// The gpt2 command: its stdout, stderr and exit codes.

import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { Command } from '../dist/cli/commander.js';
import { addGenerateOptions, generateOptionsOf } from '../dist/cli/generate-flags.js';
import { withProgressBar } from '../dist/cli/terminal.js';
import { type NumberSpec, type OptionSpec, optionTable } from '../dist/generation/option-table.js';
import { loadModel, version } from '../dist/index.js';
import { writeTextCheckpoint } from './checkpoint-folder.js';
import { argmax, fixtureFolder, readGolden } from './golden.js';
import { runProcess } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
const folder = temporaryFolder();
const cache = join(folder, 'cache');
let checkpoint: string;

beforeAll(() => {
  checkpoint = writeTextCheckpoint(join(folder, 'text-model'));
});

const gpt2 = (args: string[], input = '') =>
  runProcess([command, ...args], { environment: { GPT2_NATIVE_CACHE: cache }, input });

describe('without the compiled addon', () => {
  const root = join(__dirname, '..');
  const copy = join(folder, 'without-addon');
  const bare = (...args: string[]) => runProcess([join(copy, 'dist', 'cli', 'gpt2.js'), ...args]);

  beforeAll(() => {
    for (const part of ['dist', 'package.json']) {
      cpSync(join(root, part), join(copy, part), { recursive: true });
    }
  });

  test.each(['--help', 'generate --help', 'convert --help'])(
    'gpt2 %s prints the help',
    async (line) => {
      const { stdout, stderr, exitCode } = await bare(...line.split(' '));
      expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
      expect(stdout).toMatch(/^Usage: gpt2/);
    },
  );

  test('prints its version', async () => {
    const { stdout, stderr, exitCode } = await bare('--version');
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: `${version}\n`,
      stderr: '',
      exitCode: 0,
    });
  });

  test('a command that computes says that the addon is missing', async () => {
    const { stdout, stderr, exitCode } = await bare('logits', '--model', command);
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 });
    expect(stderr).toMatch(/Expected a compiled addon for \S+ .* does not exist/);
    expect(stderr).toContain('"npx gpt2-native build" compiles one');
    expect(stderr).toMatch(/\[ADDON_MISSING\]$/m);
  });

  test('require() of the package fails with ADDON_MISSING', async () => {
    const entry = JSON.stringify(join(copy, 'dist', 'index.js'));
    const { stdout } = await runProcess([
      '-e',
      `try { require(${entry}); } catch ({ name, code }) { console.log(name, code); }`,
    ]);
    expect(stdout).toBe('Gpt2Error ADDON_MISSING\n');
  });

  test('the weight types can be imported', async () => {
    const types = JSON.stringify(join(copy, 'dist', 'gguf', 'tensor-types.js'));
    const { stdout } = await runProcess([
      '-e',
      `console.log(require(${types}).weightTypes.includes('q8_0'));`,
    ]);
    expect(stdout).toBe('true\n');
  });
});

describe('gpt2 logits', () => {
  test('prints the reference’s most likely token first, with its probability, as JSON', async () => {
    const { tokens, logits, vocabSize } = readGolden('odd-heads');
    const { stdout, stderr, exitCode } = await gpt2([
      'logits',
      '--tokens',
      tokens.join(','),
      '--model',
      fixtureFolder('odd-heads'),
      '--top',
      String(vocabSize),
      '--json',
    ]);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    const printed = JSON.parse(stdout);
    const last = logits.subarray(-vocabSize);
    const best = argmax(last);
    const sum = last.reduce((total, logit) => total + Math.exp(logit), 0);
    expect(printed.tokens).toEqual(tokens);
    expect(printed.candidates).toHaveLength(vocabSize);
    expect(printed.candidates[0].token).toBe(best);
    expect(printed.candidates[0].text).toBeNull();
    expect(printed.candidates[0].logit).toBeCloseTo(last[best] as number, 4);
    expect(printed.candidates[0].probability).toBeCloseTo(Math.exp(last[best] as number) / sum, 5);
    const total = printed.candidates.reduce(
      (all: number, { probability }: { probability: number }) => all + probability,
      0,
    );
    expect(total).toBeCloseTo(1, 6);
  });

  test('prints a table in which the most likely token has the longest bar', async () => {
    const { stdout, stderr, exitCode } = await gpt2([
      'logits',
      'Hello world',
      '-m',
      checkpoint,
      '--top',
      '3',
    ]);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect(head?.trim().split(/\s+/)).toEqual(['token', 'text', 'logit', 'probability']);
    expect(rows).toHaveLength(3);
    expect(rows[0]).toContain('█'.repeat(40));
    for (const row of rows) expect(row).toMatch(/^ *\d+ {2}".*" +-?\d+\.\d{3} +[\d.e-]+ % {2}/);
  });

  test('reads the text from stdin for "-"', async () => {
    const fromArgument = await gpt2(['logits', 'Hello world', '-m', checkpoint, '--json']);
    const fromStdin = await gpt2(['logits', '-', '-m', checkpoint, '--json'], 'Hello world');
    expect(JSON.parse(fromStdin.stdout)).toEqual(JSON.parse(fromArgument.stdout));
    expect(JSON.parse(fromStdin.stdout).tokens).toEqual([15496, 995]);
  });
});

describe('gpt2 generate', () => {
  test('prints the prompt and the same text as the API', async () => {
    await using model = await loadModel(checkpoint, { cacheDir: cache });
    const { text } = await model.generate('Hello', { maxTokens: 8, seed: 5 });
    const { stdout, stderr, exitCode } = await gpt2([
      'generate',
      'Hello',
      '-m',
      checkpoint,
      '-n',
      '8',
      '--seed',
      '5',
    ]);
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: `Hello${text}\n`,
      stderr: '',
      exitCode: 0,
    });
  });

  test('prints one JSON object with --json', async () => {
    const { stdout, exitCode } = await gpt2([
      'generate',
      'Hello',
      '-m',
      checkpoint,
      '--max-tokens',
      '4',
      '--temperature',
      '0',
      '--json',
    ]);
    expect(exitCode).toBe(0);
    const result = JSON.parse(stdout);
    expect(result.tokens).toHaveLength(4);
    expect(result.finishReason).toBe('length');
    expect(result.usage).toEqual({ promptTokens: 1, completionTokens: 4, cachedTokens: 0 });
  });

  test('prints ids for a model without a tokenizer', async () => {
    const { stdout, exitCode } = await gpt2([
      'generate',
      '--tokens',
      '1 2 3',
      '-m',
      fixtureFolder('odd-heads'),
      '-n',
      '3',
      '--seed',
      '1',
    ]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^(\d+ ){3}\n$/);
  });

  test('exits quietly when its reader closes the pipe', async () => {
    const child = spawn(
      process.execPath,
      [command, 'generate', 'Hello', '-m', checkpoint, '-n', '50'],
      { env: { ...process.env, GPT2_NATIVE_CACHE: cache }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdout?.destroy();
    const exitCode = await new Promise((resolve) => child.on('close', resolve));
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  });
});

describe('the options of gpt2 generate', () => {
  const options = Object.entries(optionTable as Record<string, OptionSpec>).filter(
    ([, { isCode }]) => !isCode,
  );
  const flagOf = (name: string) =>
    `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

  /** Arguments for an option, or a field of one, and its value in the API. */
  function example(name: string, spec: OptionSpec | NumberSpec): [args: string[], value: unknown] {
    const flag = flagOf(name);
    switch (spec.kind) {
      case 'integer':
        return [[flag, '3'], 3];
      case 'number': {
        const value = spec.min === Number.NEGATIVE_INFINITY ? -0.5 : (spec.max ?? 3) / 2;
        return [[flag, String(value)], value];
      }
      case 'boolean':
        return [[flag], true];
      case 'choice':
        return [[flag, spec.choices[0] ?? ''], spec.choices[0]];
      case 'tokens':
        return [
          [flag, '15,16 17'],
          [15, 16, 17],
        ];
      case 'samplers':
        return [
          [flag, 'topK, temperature'],
          ['topK', 'temperature'],
        ];
      case 'texts':
      case 'words':
        return [
          [flag, '\n', flag, '\\n', flag, '-x'],
          ['\n', '\\n', '-x'],
        ];
      case 'biases':
        return [
          [flag, ' the=-5', flag, '15=-Infinity', flag, 'a=b=0.5'],
          { ' the': -5, '15': Number.NEGATIVE_INFINITY, 'a=b': 0.5 },
        ];
      default: {
        const fields = Object.entries('fields' in spec ? spec.fields : {}).map(([field, one]) => {
          const [args, value] = example(`${name}${field[0]?.toUpperCase()}${field.slice(1)}`, one);
          return { args, entry: [field, value] };
        });
        return [
          fields.flatMap(({ args }) => args),
          Object.fromEntries(fields.map(({ entry }) => entry)),
        ];
      }
    }
  }

  const parse = async (args: string[]) => {
    const command = addGenerateOptions(new Command()).exitOverride();
    await command.parseAsync(args, { from: 'user' });
    return JSON.parse(
      JSON.stringify(generateOptionsOf(command.opts()), (_, value) =>
        value === Number.NEGATIVE_INFINITY ? '-∞' : value,
      ).replaceAll('"-∞"', '-1e999'),
    );
  };

  test.each(options)('%s is that of the API', async (name, spec) => {
    await using model = await loadModel(checkpoint, { cacheDir: cache, threads: 1 });
    const [args, value] = example(name, spec);
    expect(await parse(args)).toEqual({ [name]: value });
    const needed = name === 'bestOf' || name === 'n' ? { bestOf: 3 } : {};
    await model.generate('Hello', { maxTokens: 4, ...needed, [name]: value });
  });

  test('are all in the help, which fits 80 columns', async () => {
    const { stdout } = await gpt2(['generate', '--help']);
    for (const [name, spec] of options) {
      for (const flag of example(name, spec)[0].filter((arg) => arg.startsWith('--'))) {
        expect(stdout).toMatch(new RegExp(`^ .*${flag}( <[^>]+>)?(  |$)`, 'm'));
      }
    }
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    for (const heading of ['Many prompts:', 'Stopping:', 'Model:']) {
      expect(stdout).toContain(`\n\n${heading}\n`);
    }
  });

  test('-n is maxTokens, and --n is n', async () => {
    expect(await parse(['-n', '5', '--n', '2'])).toEqual({ maxTokens: 5, n: 2 });
    expect(await parse(['--n=2', '-n5'])).toEqual({ maxTokens: 5, n: 2 });
  });

  test('work together, and --n prints each sample', async () => {
    const args = [
      '-n',
      '4',
      '--seed',
      '5',
      '--n',
      '2',
      '--best-of',
      '3',
      '--presence-penalty',
      '-0.5',
    ];
    const more = [
      '--logit-bias',
      '11=-Infinity',
      '--stop',
      '\n',
      '--samplers',
      'presencePenalty,logitBias',
    ];
    await using model = await loadModel(checkpoint, { cacheDir: cache, threads: 1 });
    const { samples = [] } = await model.generate('Hello', {
      ...{ maxTokens: 4, seed: 5, n: 2, bestOf: 3, presencePenalty: -0.5, stop: '\n' },
      logitBias: { 11: Number.NEGATIVE_INFINITY },
      samplers: ['presencePenalty', 'logitBias'],
    });
    const { stdout, stderr, exitCode } = await gpt2([
      ...['generate', 'Hello', '-m', checkpoint],
      ...args,
      ...more,
    ]);
    expect(exitCode).toBe(0);
    expect(stdout).toBe(samples.map(({ text }) => `Hello${text}\n`).join(''));
    expect(stderr).toBe(
      samples.map(({ seed }, index) => `---- sample ${index + 1} of 2, seed ${seed}\n`).join('\n'),
    );
  });
});

describe('gpt2 convert and gpt2 inspect', () => {
  test('write a file and show its contents', async () => {
    const target = join(folder, 'converted.gguf');
    const converted = await gpt2([
      'convert',
      fixtureFolder('wide'),
      target,
      '--type',
      'q8_0',
      '--json',
    ]);
    expect({ stderr: converted.stderr, exitCode: converted.exitCode }).toEqual({
      stderr: '',
      exitCode: 0,
    });
    expect(JSON.parse(converted.stdout).path).toBe(target);

    const inspected = await gpt2(['inspect', target, '--json']);
    expect(inspected.exitCode).toBe(0);
    const { version: format, byteSize, metadata, tensors } = JSON.parse(inspected.stdout);
    expect(format).toBe(3);
    expect(byteSize).toBe(JSON.parse(converted.stdout).byteSize);
    expect(metadata['gpt2.embedding_length']).toBe(256);
    expect(tensors).toContainEqual({
      part: 0,
      offset: expect.any(Number),
      name: 'blk.1.ffn_down.weight',
      type: 'q8_0',
      shape: [1024, 256],
      byteSize: (1024 / 32) * 34 * 256,
    });

    const text = await gpt2(['inspect', target]);
    expect(text.stdout).toMatch(/^gpt2\.embedding_length +256$/m);
    expect(text.stdout).toMatch(/^blk\.1\.ffn_down\.weight +q8_0 +279 kB {2}1024 × 256$/m);
  });

  test('inspect --system names the kernels, and why others are not used', async () => {
    const { stdout } = await gpt2(['inspect', '--system', '--json']);
    const system = JSON.parse(stdout);
    expect(system).toMatchObject({ node: process.version, devices: ['cpu'] });
    const possible = system.kernels.filter(({ missing }: { missing: string }) => missing === '');
    const lowest = possible.at(-1).level;
    const environment = { GPT2_NATIVE_KERNELS: lowest };
    const forced = await runProcess([command, 'inspect', '--system'], { environment });
    expect(forced.stdout).toMatch(
      new RegExp(`${lowest} +chosen\\n.*KERNELS is ${lowest}\\n$`, 's'),
    );
    const unknown = await runProcess([command, 'logits', 'Hello'], {
      environment: { GPT2_NATIVE_KERNELS: 'x' },
    });
    expect(unknown.stderr).toMatch(/GPT2_NATIVE_KERNELS .* received "x" \[INVALID_ARGUMENT\]\n$/);
    expect(unknown.exitCode).toBe(2);
  });

  test('inspect accepts a checkpoint folder', async () => {
    const { stdout, exitCode } = await gpt2(['inspect', fixtureFolder('bf16'), '--json']);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout).metadata['gpt2.context_length']).toBe(300);
  });

  test('a failed conversion leaves no file', async () => {
    const target = join(folder, 'nothing', 'file.gguf');
    const { stdout, stderr, exitCode } = await gpt2(['convert', folder, target]);
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 });
    expect(stderr).toMatch(
      /^gpt2: .*there is no checkpoint in this folder.* \[FILE_NOT_FOUND\]\n$/,
    );
    expect(existsSync(target)).toBe(false);
  });
});

describe('gpt2 quantize', () => {
  test('writes a smaller file and lists the type of each matrix', async () => {
    const target = join(folder, 'quantized.gguf');
    const args = ['quantize', fixtureFolder('wide'), target, '--type', 'q4_k_m'];
    const { stdout, exitCode } = await gpt2(args);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/quantized\.gguf: [\d.]+ [kM]B in [\d.]+ s/);
    expect(stdout).toMatch(/q8_0 .*token_embd\.weight/);
    expect(stdout).toMatch(/f16 .*position_embd\.weight/);
    const json = await gpt2(['quantize', target, `${target}.2`, '--type', 'q4_0', '--json']);
    const { matrices, byteSize } = JSON.parse(json.stdout);
    const typeOf = (name: string) =>
      matrices.find(({ tensors }: { tensors: string[] }) => tensors.includes(name))?.type;
    expect(typeOf('blk.0.ffn_up.weight')).toBe('q4_0');
    expect(typeOf('token_embd.weight')).toBe('q8_0');
    expect(byteSize).toBe(statSync(`${target}.2`).size);
  });

  test('requires a type', async () => {
    const { stderr, exitCode } = await gpt2(['quantize', fixtureFolder('wide'), 'x.gguf']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--type');
  });
});

describe('a terminal', () => {
  const isTTY = process.stderr.isTTY;
  afterEach(() => {
    process.stderr.isTTY = isTTY;
    vi.restoreAllMocks();
  });

  test('shows one line of progress, whose end a shorter line overwrites', async () => {
    process.stderr.isTTY = true;
    let line = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      for (const part of String(text).split('\r').slice(1)) line = part + line.slice(part.length);
      return true;
    });
    const shown: string[] = [];
    await withProgressBar(async (onProgress) => {
      for (const stage of ['download', 'convert', 'load'] as const) {
        for (const done of [10, 9, 0]) {
          onProgress({ stage, done, total: 10 });
          shown.push(line.replaceAll(/[█░]+/g, '').trimEnd());
        }
      }
    });
    expect(shown).toEqual([
      ...['download  100 %', 'download  90 %', 'download  0 %'],
      ...['convert  100 %', 'convert  90 %', 'convert  0 %'],
      ...['convert  0 %', 'convert  0 %', 'convert  0 %'],
    ]);
    expect(line.trim()).toBe('');
  });

  test('passes --head-count on to weights without a config', async () => {
    const weights = join(folder, 'without-config', 'model.safetensors');
    mkdirSync(join(folder, 'without-config'));
    cpSync(join(fixtureFolder('wide'), 'model.safetensors'), weights);
    const refused = await gpt2(['convert', weights, join(folder, 'never.gguf')]);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(/pass the option headCount/);
    for (const command of [
      ['convert', weights, join(folder, 'heads.gguf')],
      ['quantize', weights, join(folder, 'heads-q.gguf'), '--type', 'q8_0'],
      ['inspect', weights],
      ['describe', weights],
      ['logits', '--tokens', '1', '-m', weights],
    ]) {
      const { stderr, exitCode } = await gpt2([...command, '--head-count', '4']);
      expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    }
    expect((await gpt2(['inspect', join(folder, 'heads.gguf')])).stdout).toMatch(
      /gpt2\.attention\.head_count +4\n/,
    );
  });

  test('receives no control characters from a file', async () => {
    const target = join(folder, 'controls.gguf');
    await gpt2(['convert', fixtureFolder('wide'), target]);
    const bytes = readFileSync(target);
    const end = bytes.indexOf('blk.0.ffn_up.weight') + 'blk.0.ffn_up.weight'.length;
    bytes.write('\x1b]0;x\x07', end - 6, 'latin1');
    writeFileSync(target, bytes);
    const { stdout } = await gpt2(['inspect', target]);
    expect(stdout).toContain('blk.0.ffn_up.\\u001b]0;x\\u0007');
    expect(stdout).not.toMatch(/(?!\n)\p{Cc}/u);
    const { stderr } = await gpt2(['generate', '-m', 'no/such/\x1b[31mmodel']);
    expect(stderr).toContain('no/such/\\u001b[31mmodel');
  });
});

describe('the command line', () => {
  test.each([['--help'], ['logits', '--help'], ['help', 'generate'], ['--version']])(
    'gpt2 %s %s writes to stdout and exits with 0',
    async (...args) => {
      const { stdout, stderr, exitCode } = await gpt2(args);
      expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
      expect(stdout).not.toBe('');
    },
  );

  test('prints the version of the package', async () => {
    expect((await gpt2(['--version'])).stdout).toBe(`${version}\n`);
  });

  test.each([
    ['an unknown command', ['bogus']],
    ['no command', []],
    ['an unknown option', ['logits', 'x', '--bogus']],
    ['an option without its value', ['logits', 'x', '--model']],
    ['an invalid number', ['generate', 'x', '-m', 'm', '-n', 'three']],
    ['an unknown type', ['convert', 'a', 'b', '--type', 'q3_9']],
    ['a value out of range', ['generate', 'Hello', '-m', 'CHECKPOINT', '--top-p', '2']],
    ['threads out of range', ['generate', 'Hello', '-m', 'CHECKPOINT', '--threads', '0']],
    ['threads of convert out of range', ['convert', 'CHECKPOINT', 'b', '--threads', '513']],
    [
      'threads of quantize out of range',
      ['quantize', 'CHECKPOINT', 'b', '--type', 'q8_0', '--threads', '0'],
    ],
    ['a negative --top', ['logits', 'Hello', '-m', 'CHECKPOINT', '--top', '-1']],
  ])('%s exits with 2 and a message on stderr', async (_, args) => {
    const { stdout, stderr, exitCode } = await gpt2(
      args.map((arg) => (arg === 'CHECKPOINT' ? checkpoint : arg)),
    );
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 2 });
    expect(stderr).not.toBe('');
  });

  test.each([
    ['FILE_NOT_FOUND', ['logits', 'Hello', '-m', 'no/such/model.gguf']],
    ['INVALID_FILE', ['inspect', command]],
    ['TOKENIZER_MISSING', ['generate', 'Hello', '-m', fixtureFolder('odd-heads')]],
    ['TOKEN_OUT_OF_RANGE', ['logits', '--tokens', '5,97', '-m', fixtureFolder('odd-heads')]],
  ])('%s exits with 1 and the code on stderr', async (code, args) => {
    const { stdout, stderr, exitCode } = await gpt2(args);
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 });
    expect(stderr.trimEnd()).toMatch(new RegExp(`^gpt2: .* \\[${code}\\]$`));
  });

  test('leaves only complete files in the cache', () => {
    const files = readdirSync(cache);
    expect(files.length).toBeGreaterThan(1);
    for (const file of files) expect(file).toMatch(/\.gguf$/);
  });
});
