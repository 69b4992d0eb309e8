// npm run test:package: packs the tarball, installs it into an empty folder, and uses it there: require, import and
// the command.

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'gpt2-native-package-'));
const npm = (args, cwd) =>
  process.env.npm_execpath?.endsWith('.js')
    ? run(process.execPath, [process.env.npm_execpath, ...args], cwd)
    : run('npm', args, cwd);

function run(program, args, cwd = folder) {
  return execFileSync(program, args, {
    shell: program.endsWith('.cmd'),
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function expect(what, holds) {
  if (!holds) throw new Error(`The packed package: ${what}`);
  console.log(`ok   ${what}`);
}

const script = `
  const { loadModel, Gpt2Error, version } = PACKAGE;
  const model = await loadModel();
  const { shape } = await model.logits('Hello');
  const { tokens } = await model.generate('Hello', { maxTokens: 4, temperature: 0 });
  const error = await model.logits([-1]).catch((error) => error);
  await model.dispose();
  console.log(JSON.stringify({ shape, tokens: [...tokens], ours: error instanceof Gpt2Error, version }));
`;

try {
  const [{ filename, size, unpackedSize, files }] = JSON.parse(
    npm(['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root),
  );
  console.log(
    `${filename}: ${(size / 1e6).toFixed(2)} MB packed, ${(unpackedSize / 1e6).toFixed(2)} MB unpacked, ${files.length} files`,
  );
  expect(
    'the licences of this package and of ggml are in it',
    ['LICENSE', 'build/Release/LICENSE.ggml'].every((name) =>
      files.some(({ path }) => path === name),
    ),
  );
  await writeFile(join(folder, 'package.json'), '{ "private": true }');
  npm(['install', '--no-audit', '--no-fund', '--silent', join(folder, filename)], folder);
  await writeFile(
    join(folder, 'use.cjs'),
    `(async () => {${script.replace('PACKAGE', "require('gpt2-native')")}})();`,
  );
  await writeFile(
    join(folder, 'use.mjs'),
    script.replace('PACKAGE', "await import('gpt2-native')"),
  );
  const required = run(process.execPath, ['use.cjs']);
  const imported = run(process.execPath, ['use.mjs']);
  const { shape, tokens, ours } = JSON.parse(required);
  expect('require gives logits of the right shape', shape.join() === '1,50257');
  expect('generate gives 4 tokens', tokens.length === 4);
  expect('errors are Gpt2Errors', ours);
  expect('import gives the same as require', imported === required);

  const gpt2 = join('node_modules', '.bin', process.platform === 'win32' ? 'gpt2.cmd' : 'gpt2');
  const { candidates } = JSON.parse(run(gpt2, ['logits', 'Hello', '--json']));
  expect('the command prints the likeliest tokens', candidates.length === 10);
  expect('the command and the API agree', candidates[0].token === tokens[0]);
} finally {
  await rm(folder, { recursive: true, force: true });
}
