// The library in programs that esbuild bundled.

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runProcess } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = join(__dirname, '..');
const folder = temporaryFolder();
const { buildSync } = createRequire(createRequire(__filename).resolve('vite'))('esbuild');

const program = `
  import { loadModel } from 'gpt2-native';
  const main = async () => {
    const model = await loadModel();
    console.log((await model.logits([464])).shape.join());
    await model.dispose();
  };
  main();
`;

function bundle(format: 'cjs' | 'esm', external: string[]): string {
  const place = freshFolder(folder);
  mkdirSync(join(place, 'node_modules'));
  symlinkSync(root, join(place, 'node_modules', 'gpt2-native'), 'junction');
  writeFileSync(join(place, 'package.json'), '{ "name": "program" }');
  writeFileSync(join(place, 'program.mjs'), program);
  const outfile = join(place, 'out', 'js', format === 'cjs' ? 'program.cjs' : 'program.mjs');
  buildSync({
    entryPoints: [join(place, 'program.mjs')],
    outfile,
    bundle: true,
    platform: 'node',
    format,
    external,
    logLevel: 'silent',
  });
  return outfile;
}

test.each(['cjs', 'esm'] as const)(
  'marked as external it works in a bundle: %s',
  async (format) => {
    const { exitCode, stdout, stderr } = await runProcess([bundle(format, ['gpt2-native'])]);
    expect([exitCode, stdout, stderr]).toEqual([0, '1,50257\n', '']);
  },
);

test('without a setting the bundler stops at the addon', () => {
  expect(() => bundle('cjs', [])).toThrow(/No loader is configured for "\.node" files/);
});
