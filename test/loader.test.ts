// Which addon the package loads, and what it says if it cannot.

import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { version } from '../dist/index.js';
import { platformName, prebuiltFor, prebuiltPlatforms } from '../dist/native/prebuilt.js';
import { runProcess } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = join(__dirname, '..');
const compiled = join(root, 'build', 'Release', 'gpt2_native.node');
const prebuilt = prebuiltFor(platformName())?.path ?? 'none';
const folder = temporaryFolder();

describe('an installed package', () => {
  let installed: string;

  beforeEach(() => {
    installed = freshFolder(folder);
    for (const part of ['dist', 'package.json']) {
      cpSync(join(root, part), join(installed, part), { recursive: true });
    }
  });

  const place = (path: string, write: (file: string) => void) => {
    const file = join(installed, path);
    mkdirSync(dirname(file), { recursive: true });
    write(file);
  };
  const addAddon = (path: string) => place(path, (file) => copyFileSync(compiled, file));
  const addGarbage = (path: string) => place(path, (file) => writeFileSync(file, 'not an addon'));

  /** "loaded", or the code and the message of the error. */
  async function load(): Promise<string> {
    const script = `
      try {
        require(${JSON.stringify(join(installed, 'dist', 'index.js'))});
        console.log('loaded');
      } catch ({ code, message }) {
        console.log(code, message);
      }`;
    return (await runProcess(['-e', script])).stdout;
  }

  test('loads the prebuilt addon of this platform', async () => {
    addAddon(prebuilt);
    expect(await load()).toBe('loaded\n');
  });

  test('prefers the addon that was compiled on this machine', async () => {
    addAddon(join('build', 'Release', 'gpt2_native.node'));
    addGarbage(prebuilt);
    expect(await load()).toBe('loaded\n');
  });

  test('says what it looked for, where, and what to do', async () => {
    const message = await load();
    expect(message).toMatch(/^ADDON_MISSING Expected a compiled addon for /);
    expect(message).toContain(platformName());
    expect(message).toContain(`${prebuilt} does not exist`);
    for (const platform of prebuiltPlatforms) expect(message).toContain(platform);
    expect(message).toContain('install gpt2-native again');
    expect(message).toContain('npx gpt2-native build');
  });

  test('says why an addon cannot be loaded, and does not take another one', async () => {
    addGarbage(join('build', 'Release', 'gpt2_native.node'));
    addAddon(prebuilt);
    expect(await load()).toMatch(
      /^ADDON_MISSING The compiled addon build\/Release\/gpt2_native\.node could not be loaded: \S/,
    );
  });

  test('rejects the addon of another version', async () => {
    addAddon(prebuilt);
    place('package.json', (file) => {
      const description = JSON.parse(readFileSync(file, 'utf8'));
      writeFileSync(file, JSON.stringify({ ...description, version: '99.0.0' }));
    });
    const message = await load();
    expect(message).toMatch(/^ADDON_MISMATCH Expected the addon of version 99\.0\.0 /);
    expect(message).toContain(`of version ${version}`);
  });
});

test('an unknown platform has no prebuilt addon', () => {
  for (const platform of ['sunos-x64', 'linux-ia32-glibc', '__proto__', 'toString']) {
    expect(prebuiltFor(platform)).toBeUndefined();
  }
});

test('every platform that is compiled for a release can be loaded, and no other', async () => {
  const { addonPath, platforms } = await import('../scripts/prebuild/platforms.mjs');
  expect(Object.keys(platforms).toSorted()).toEqual(prebuiltPlatforms.toSorted());
  for (const [name, platform] of Object.entries(platforms)) {
    expect(prebuiltFor(name)?.path).toBe(addonPath(platform));
    const literal = String(prebuiltFor(name)?.load).replace(/"/g, "'");
    expect(literal).toContain(`require('../../${addonPath(platform)}')`);
  }
});
