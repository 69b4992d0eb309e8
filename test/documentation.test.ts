// The examples of the documentation compile and run, and docs/api.md has the library's signatures and options.

import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { type ProcessResult, runProcess } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const root = join(__dirname, '..');
const folder = temporaryFolder();

const publicTypes = `AbortSignalLike, Classification, ClassifyOptions, ConvertOptions, CreateOptions, CrossEntropy, CrossEntropyOptions, DecideOptions, Decision, EmbedOptions, Embeddings, EncodeOptions, EvaluateOptions, FinishReason, GenerateOptions, Generation,
  GenerationPart, Gpt2Config, IndexedPart, Input, LoadOptions, LoadProgress, Logits, Model, PartStream, PresetName, RankOptions, Ranking, Rating, Scale,
  Score, ScoreOptions, Session, SpanScores, Timings, Tokenizer, TokenSpans, TopLogprobs, UrlLike, Usage`;

interface Block {
  language: string;
  code: string;
  /** The line of the document at which the code begins. */
  line: number;
}

function readBlocks(document: string): Block[] {
  const text = readFileSync(join(root, document), 'utf8');
  const blocks = text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm);
  return [...blocks].map(({ 1: language = '', 2: code = '', index }) => ({
    language,
    code,
    line: text.slice(0, index).split('\n').length + 1,
  }));
}

const apiBlocks = readBlocks('docs/api.md');

// As docs/api.md says, its first example is the beginning of all others.
const prelude = apiBlocks.find(({ language }) => language === 'js')?.code ?? '';

const examples = ['README.md', 'docs/api.md', 'docs/host.md'].flatMap((document) =>
  readBlocks(document)
    .filter(({ language }) => language === 'js')
    .map(({ code, line }) => ({
      name: `${document}:${line}`,
      file: `${document.replace(/\W/g, '-')}-${line}`,
      code: code.includes('import ') ? code : prelude + code,
    })),
);

/** A module that compiles only if the signatures in docs/api.md are those of the library. */
function checkedSignatures(): string {
  const owners: Record<string, string> = {
    model: 'Model',
    session: 'Session',
    tokenizer: 'Tokenizer',
  };
  return apiBlocks
    .filter(({ language }) => language === 'ts')
    .map(({ code, line }) => {
      const [, kind = '', name = ''] = /^(\w+)[ .](\w+)/.exec(code) ?? [];
      const documented = `At${line}`;
      const place = `'docs/api.md:${line}'`;
      if (kind === 'function') {
        const entry = name === 'loadTokenizer' ? 'tokenizers' : 'api';
        return `declare ${code.replace(name, documented)}; check<Same<typeof ${documented}, typeof ${entry}.${name}, ${place}>>();`;
      }
      if (kind === 'type' || kind === 'interface') {
        return `${code.replace(name, documented)}; check<Same<${documented}, api.${name}, ${place}>>();`;
      }
      const overloads = code.replaceAll(`${kind}.${name}`, '');
      return `type ${documented} = { ${overloads} }; check<Same<${documented}, ${owners[kind]}['${name}'], ${place}>>();`;
    })
    .join('\n');
}

/** A module that compiles only if the tables in docs/api.md list the options of the library. */
function checkedOptions(): string {
  const tables: Record<string, string> = {
    'loadModel() option': 'LoadOptions',
    'createModel() option': 'Omit<CreateOptions, keyof LoadOptions>',
    'createModel() key': 'Gpt2Config',
    'convert() option': 'ConvertOptions',
    'model.logits() option': 'EvaluateOptions',
    'GenerateOptions option': 'GenerateOptions',
    'model.score() option': 'ScoreOptions',
    'model.rank() option': 'RankOptions',
    'model.embed() option': 'EmbedOptions',
    'model.classify() option': 'ClassifyOptions',
    'model.decide() option': 'DecideOptions',
    'crossEntropy() option': 'CrossEntropyOptions',
    'session.evaluate() option': 'EvaluateOptions',
    'tokenizer.encode() option': 'EncodeOptions',
  };
  const text = readFileSync(join(root, 'docs/api.md'), 'utf8');
  return Object.entries(tables)
    .map(([place, type]) => {
      const [heading = '', kind] = place.split(' ');
      const section = text.split(`# ${heading}\n`)[1]?.split('\n#')[0] ?? '';
      const table = section.split(`| ${kind} |`)[1]?.split('\n\n')[0] ?? '';
      const names = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => `'${name}'`);
      return `check<Same<${names.join(' | ') || 'never'}, keyof (${type}), 'the table of ${place}'>>();`;
    })
    .join('\n');
}

let compilation: ProcessResult;

beforeAll(async () => {
  // What the examples name: the package, a checkpoint folder and a GGUF file.
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules', 'gpt2-native'), 'junction');
  cpSync(join(__dirname, 'fixtures', 'gpt2-books'), join(folder, 'my-gpt2'), { recursive: true });
  cpSync(join(root, 'models', 'gpt2-books.gguf'), join(folder, 'model.gguf'));

  for (const { file, code } of examples) writeFileSync(join(folder, `${file}.mts`), code);
  writeFileSync(
    join(folder, 'signatures.mts'),
    `import type * as api from 'gpt2-native';
    import type * as tokenizers from 'gpt2-native/tokenizer';
    import type { ${publicTypes} } from 'gpt2-native';
    type Same<A, B, Place> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? 'same' : Place;
    declare function check<_ extends 'same'>(): void;
    ${checkedSignatures()}
    ${checkedOptions()}`,
  );
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noEmit: false,
        noUnusedLocals: false,
        typeRoots: [join(root, 'node_modules', '@types')],
      },
      include: ['*.mts'],
    }),
  );
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  compilation = await runProcess([compiler, '--project', folder]);
});

test('the examples compile, and the signatures and options are those of the library', () => {
  expect(apiBlocks.filter(({ language }) => language === 'ts').length).toBeGreaterThan(20);
  expect(compilation.stdout).toBe('');
  expect(compilation.exitCode).toBe(0);
});

describe('the examples run', () => {
  test.each(examples)('$name', async ({ file, code }) => {
    const script = `
      process.chdir(${JSON.stringify(folder)});
      import(${JSON.stringify(pathToFileURL(join(folder, `${file}.mjs`)))});`;
    const { exitCode, stdout, stderr } = await runProcess(['-e', script], {
      environment: { GPT2_NATIVE_CACHE: join(folder, 'cache'), HF_HUB_OFFLINE: '1' },
    });
    expect(exitCode, stderr).toBe(0);
    const outputs = [...code.matchAll(/console\.log\(.*\); \/\/ (.+)$/gm)].map(
      ([, output]) => output,
    );
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(outputs));
  });
});
