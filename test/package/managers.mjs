import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { check, folderWith, isRight, node, npm, pack, programs, run, tool } from './context.mjs';

/** Installs with each package manager; with npm, where no compiler can be found. */
export function testManagers() {
  const { tarball } = pack();

  // A PATH with nothing but Node, npm and a shell.
  const bin = join(folderWith('bin'), 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, 'node'));
  symlinkSync('/bin/sh', join(bin, 'sh'));
  const byNpm = folderWith('npm', programs);
  const start = performance.now();
  npm(byNpm, ['install', '--no-audit', '--no-fund', '--silent', tarball], { PATH: bin });
  const seconds = (performance.now() - start) / 1000;
  check(
    `npm installs it without a compiler (${seconds.toFixed(1)} s)`,
    isRight(node(byNpm, 'program.cjs')),
  );
  const installed = readdirSync(join(byNpm, 'node_modules')).filter(
    (name) => !name.startsWith('.'),
  );
  check('nothing else is installed', installed.join() === 'gpt2-native');
  const gpt2 = join(byNpm, 'node_modules', '.bin', 'gpt2');
  const { candidates } = JSON.parse(run(byNpm, gpt2, ['logits', 'Hello', '--json']));
  check('the command works', candidates.length === 10);

  const { status, stderr } = spawnSync(gpt2, ['build'], { env: { PATH: bin }, encoding: 'utf8' });
  const namesTools = /cmake 3\.25 or newer, a C\+\+17 compiler .*, make or ninja/.test(stderr);
  check('"gpt2 build" names the missing tools', status === 1 && namesTools);

  const byPnpm = folderWith('pnpm', programs);
  node(byPnpm, tool('pnpm', 'bin', 'pnpm.cjs'), 'add', '--silent', tarball);
  check('pnpm', isRight(node(byPnpm, 'program.mjs')));

  const yarn = tool('@yarnpkg', 'cli-dist', 'bin', 'yarn.js');
  for (const linker of ['node-modules', 'pnp']) {
    const folder = folderWith(`yarn-${linker}`, {
      ...programs,
      '.yarnrc.yml': `nodeLinker: ${linker}\nenableTelemetry: false\nenableGlobalCache: false\n`,
      'yarn.lock': '',
    });
    const env = { YARN_ENABLE_IMMUTABLE_INSTALLS: 'false' };
    run(folder, process.execPath, [yarn, 'add', `gpt2-native@file:${tarball}`], env);
    check(
      `Yarn, ${linker}`,
      isRight(run(folder, process.execPath, [yarn, 'node', 'program.cjs'], env)),
    );
  }
}
