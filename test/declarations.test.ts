// The declarations compile in programs with other settings than this package's, and without the types of Node.

import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runProcess } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = join(__dirname, '..');
const folder = temporaryFolder();

const program = `
  import { convert, Gpt2Error, loadModel, type LoadOptions, type Model, type Session } from 'gpt2-native';
  export async function use(options: LoadOptions): Promise<Float32Array> {
    const model: Model = await loadModel({ href: 'file:///model.gguf', protocol: 'file:' }, options);
    const session: Session = model.createSession();
    const { data, shape } = await session.evaluate(Uint32Array.of(1, 2), { positions: 'all' });
    const rows: number = shape[0];
    for await (const { text } of model.stream('a', { maxTokens: rows })) text.length;
    session[Symbol.dispose]();
    await model[Symbol.asyncDispose]();
    await convert('a', 'b', { type: 'q8_0' });
    throw new Gpt2Error('INTERNAL', 'a', { cause: data });
  }
`;
const withTokenizer = `
  import { type EncodeOptions, gpt2Tokenizer, loadTokenizer, type Tokenizer } from 'gpt2-native/tokenizer';
  import type { Tokenizer as OfModel } from 'gpt2-native';
  export async function use(options: EncodeOptions): Promise<Uint32Array> {
    const tokenizer: OfModel = await loadTokenizer('a');
    const own: Tokenizer = gpt2Tokenizer;
    return tokenizer.encode(own.decode([own.startOfText]), options);
  }
`;
const withSignal = `
  import { loadModel } from 'gpt2-native';
  export const model = loadModel(new URL('file:///model.gguf'), { signal: new AbortController().signal });
`;
const withUsing = `
  import { loadModel } from 'gpt2-native';
  export async function use() {
    await using model = await loadModel();
    using session = model.createSession();
    return session.length;
  }
`;

async function compile(code: string, compilerOptions: object): Promise<string> {
  const place = freshFolder(folder);
  const installed = join(place, 'node_modules', 'gpt2-native');
  mkdirSync(installed, { recursive: true });
  cpSync(join(root, 'package.json'), join(installed, 'package.json'));
  cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true });
  writeFileSync(join(place, 'use.mts'), code);
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    types: [],
    ...compilerOptions,
  };
  const settings = { compilerOptions: options, files: ['use.mts'] };
  writeFileSync(join(place, 'tsconfig.json'), JSON.stringify(settings));
  const tsc = join(root, 'node_modules', 'typescript', 'lib', 'tsc.js');
  return (await runProcess([tsc, '-p', place])).stdout;
}

const node = { module: 'node16' };
const bundler = { module: 'esnext', moduleResolution: 'bundler' };
const typeRoots = [join(root, 'node_modules', '@types')];

test.each([
  ['ES2020, no types', program, { ...node, target: 'es2020', lib: ['es2020'] }],
  ['ES2022, no types', program, { ...node, target: 'es2022', lib: ['es2022'] }],
  ['ES2020, the tokenizer', withTokenizer, { ...node, target: 'es2020', lib: ['es2020'] }],
  ['ESNext, no types', program, { ...node, target: 'esnext', lib: ['esnext'] }],
  ['ES2020, the DOM', withSignal, { ...bundler, target: 'es2020', lib: ['es2020', 'dom'] }],
  ['ES2022, the DOM, a bundler', program, { ...bundler, target: 'es2022', lib: ['es2022', 'dom'] }],
  [
    'ES2020, Node',
    withSignal,
    { ...node, target: 'es2020', lib: ['es2020'], types: ['node'], typeRoots, skipLibCheck: true },
  ],
  ['ES2022, using', withUsing, { ...node, target: 'es2022', lib: ['es2022'] }],
  [
    'exact optional properties',
    program,
    { ...node, target: 'es2022', exactOptionalPropertyTypes: true, lib: ['es2022'] },
  ],
])('%s', async (_, code, options) => {
  expect(await compile(code, options)).toBe('');
});
