// A process without HOME whose user is not in the system's list, as in containers; and a full disk behind stdout.

import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fixtureFolder } from './golden.js';
import { packageEntry } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const command = join(packageEntry, '..', 'cli', 'gpt2.js');

function run(args: readonly string[], env: NodeJS.ProcessEnv, stdout: number | 'pipe' = 'pipe') {
  const uid = process.getuid?.() === 0 ? { uid: 54321, gid: 54321 } : {};
  return spawnSync(process.execPath, args, {
    ...uid,
    env,
    cwd: '/',
    encoding: 'utf8',
    stdio: ['ignore', stdout, 'pipe'],
  });
}

// Only root may start a process as another user. Such a process needs to read this checkout.
const isRoot = process.getuid?.() === 0;

describe.runIf(isRoot)('an unknown user without HOME', () => {
  const checkpoint = join(folder, 'checkpoint');
  chmodSync(folder, 0o777);
  cpSync(fixtureFolder('wide'), checkpoint, { recursive: true });

  test('may use the packaged model', () => {
    const { status, stdout, stderr } = run([command, 'logits', 'Hello', '--json'], {});
    expect([status, JSON.parse(stdout).candidates.length]).toEqual([0, 10]);
    expect(stderr).not.toContain(' at ');
  });

  test.each([
    ['the conversion of a checkpoint', ['inspect', checkpoint], 'GPT2_NATIVE_CACHE'],
    ['a model of the hub', ['inspect', 'gpt2', '--offline'], 'HF_HOME'],
    ['list', ['list'], 'GPT2_NATIVE_CACHE'],
    ['list with a folder', ['list', '--cache-dir', folder], 'HF_HOME'],
    ['rm', ['rm', 'gpt2'], 'GPT2_NATIVE_CACHE'],
  ])('is told the variable to set: %s', (_, args, variable) => {
    for (const env of [{}, { HOME: '' }]) {
      const { status, stderr } = run([command, ...args], env);
      expect(stderr).toMatch(/^gpt2: [^\n]* \[FILE_NOT_FOUND\]\n$/);
      expect(stderr).toContain(`set ${variable} to a folder`);
      expect(status).toBe(1);
    }
  });

  test('is told the variable to set if HOME cannot be written to', () => {
    const env = { HOME: '/' };
    const { status, stderr } = run([command, 'inspect', checkpoint], env);
    expect(stderr).toMatch(
      /^gpt2: [^\n]*; set GPT2_NATIVE_CACHE to another folder \[FILE_UNWRITABLE\]\n$/,
    );
    expect(status).toBe(1);
    const script = `require(${JSON.stringify(packageEntry)}).createModel('124M').catch((error) => console.log(error.code, error.message))`;
    expect(run(['-e', script], env).stdout).toMatch(
      /^FILE_UNWRITABLE [^\n]*; set GPT2_NATIVE_CACHE to another folder\n$/,
    );
  });

  test('may convert and list with the variables', () => {
    const env = { GPT2_NATIVE_CACHE: join(folder, 'cache'), HF_HOME: join(folder, 'hub') };
    expect(run([command, 'inspect', checkpoint], env)).toMatchObject({ status: 0, stderr: '' });
    expect(run([command, 'list'], env).status).toBe(0);
  });
});

describe.runIf(process.platform === 'linux')('a full disk behind stdout', () => {
  test.each([
    [['--help']],
    [['--version']],
    [['inspect']],
    [['describe', '124M']],
    [['logits', 'Hello']],
    [['generate', 'Hello', '-n', '4']],
  ])('fails with the reason: gpt2 %s', (args) => {
    const full = openSync('/dev/full', 'w');
    const { status, stderr } = run([command, ...args], { HOME: '/tmp' }, full);
    expect(stderr).toContain(
      'gpt2: stdout: cannot be written (the disk is full) [FILE_UNWRITABLE]',
    );
    expect(stderr).not.toContain(' at ');
    expect(status).toBe(1);
  });
});
