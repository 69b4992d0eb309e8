// Writes lib/generation/generate-options.ts and the table of options in docs/api.md from lib/generation/option-table.ts.
// --check: fails if they are not up to date.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';

const pathOf = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const { code } = transformSync(readFileSync(pathOf('lib/generation/option-table.ts'), 'utf8'), {
  loader: 'ts',
  format: 'esm',
});
const { optionTable, stageNames } = await import(
  `data:text/javascript,${encodeURIComponent(code)}`
);

function typeOf(name, spec) {
  switch (spec.kind) {
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'texts':
      return 'string | readonly string[]';
    case 'tokens':
      return 'readonly number[] | Uint32Array';
    case 'words':
      return 'readonly (string | readonly number[] | Uint32Array)[]';
    case 'biases':
      return 'Readonly<Record<string | number, number>>';
    case 'choice':
      return spec.choices.map((choice) => `'${choice}'`).join(' | ');
    case 'samplers':
      return 'readonly (SamplerName | (string & {}))[]';
    case 'function':
      return spec.signature;
    case 'signal':
      return 'AbortSignalLike';
    case 'object': {
      const fields = Object.entries(spec.fields).map(
        ([field, one]) =>
          `    /** ${described(one)} */\n    ${field}${isRequired(one) ? '' : '?'}: ${typeOf(field, one)};\n`,
      );
      return `{\n${fields.join('')}  }`;
    }
    default:
      throw new Error(`${name}: an unknown kind`);
  }
}

const isRequired = (field) => field.default === undefined && !field.help.includes('Default:');

function described(spec) {
  const { help, min, max, above } = spec;
  const hasDefault = spec.default !== undefined && !help.includes('Default:');
  const range =
    min === undefined || min === Number.NEGATIVE_INFINITY
      ? ''
      : max === undefined
        ? ` ${above ? 'Above' : 'At least'} ${min}.`
        : ` ${above ? `Above ${min}, at most ${max}` : `${min} to ${max}`}.`;
  return `${help}${range}${hasDefault ? ` Default ${JSON.stringify(spec.default)}.` : ''}`;
}

const property = ([name, spec]) =>
  `  /** ${described(spec)} */\n  ${name}?: ${typeOf(name, spec)};\n`;

const types = `// Written by scripts/write-generate-options.mjs from option-table.ts.

import type { AbortSignalLike } from '../native/abort.js';
import type { GenerationPart, LogitsContext } from './generation.js';

/** A stage of the sampler, named as its option. */
export type SamplerName =
${stageNames.map((name) => `  | '${name}'\n`).join('')};

/** The options of generate and stream. */
export interface GenerateOptions {
${Object.entries(optionTable).map(property).join('')}}
`;

const fieldsOf = (spec) =>
  Object.entries(spec.fields ?? {})
    .map(([field, one]) => `<br>\`${field}\`: ${described(one)}`)
    .join('');
const escaped = (text) => text.replaceAll('|', '\\|').replaceAll('*', '\\*');
const shortType = (name, spec) => (spec.kind === 'object' ? 'object' : typeOf(name, spec));
const rows = Object.entries(optionTable).map(
  ([name, spec]) =>
    `| \`${name}\` | \`${escaped(shortType(name, spec))}\` | ${escaped(described(spec) + fieldsOf(spec))} |\n`,
);
const table = `| option | type | |\n| --- | --- | --- |\n${rows.join('')}`;

const begin = '<!-- generate-options:begin -->\n';
const end = '<!-- generate-options:end -->';
const docs = readFileSync(pathOf('docs/api.md'), 'utf8');
const [before, rest] = docs.split(begin);
const after = rest?.split(end)[1];
if (after === undefined) throw new Error('docs/api.md: expected the marks of generate-options');

const formatted = execFileSync(
  process.execPath,
  [
    pathOf('node_modules/@biomejs/biome/bin/biome'),
    'format',
    '--stdin-file-path=lib/generation/generate-options.ts',
  ],
  { cwd: pathOf('.'), input: types, encoding: 'utf8' },
);

for (const [path, text] of [
  ['lib/generation/generate-options.ts', formatted],
  ['docs/api.md', `${before}${begin}${table}${end}${after}`],
]) {
  let current = '';
  try {
    current = readFileSync(pathOf(path), 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  if (current === text) continue;
  if (process.argv.includes('--check')) {
    console.error(`${path} is out of date. Run: node scripts/write-generate-options.mjs`);
    process.exitCode = 1;
  } else {
    writeFileSync(pathOf(path), text);
  }
}
