// Finds the compiled addon, loads it on first use and checks that it belongs to this package.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Gpt2Error, isError } from '../errors.js';
import type { Addon } from './types.js';

// A bundler moves this module away from the package's other files. An ESM bundle has no __dirname.
const folder = typeof __dirname === 'string' ? __dirname : process.cwd();
const root = join(folder, '..', '..');
const path = join(root, 'build', 'Release', 'gpt2_native.node');

/** The version in package.json. */
export const version: string = readVersion();

function readVersion(): string {
  let reason = 'it belongs to another package';
  let cause: unknown;
  const file = join(root, 'package.json');
  try {
    const { name, version } = JSON.parse(readFileSync(file, 'utf8'));
    if (name === 'gpt2-native') return version;
  } catch (error) {
    cause = error;
    reason = isError(error) ? error.message : String(error);
  }
  throw new Gpt2Error(
    'ADDON_MISSING',
    `Expected the package.json of gpt2-native at ${file}: ${reason}\n` +
      'If a bundler contains gpt2-native, mark it as external, as in "esbuild --external:gpt2-native" (docs/bundlers.md).',
    { cause },
  );
}

let loadedAddon: Addon | undefined;

/**
 * The compiled addon, loaded by the first call: help texts and plain types work without it.
 *
 * @throws ADDON_MISSING, ADDON_MISMATCH
 */
export function addon(): Addon {
  loadedAddon ??= load();
  return loadedAddon;
}

function load(): Addon {
  let loaded: Addon;
  try {
    loaded = require(path);
  } catch (cause) {
    const reason = isError(cause) ? cause.message : String(cause);
    throw new Gpt2Error(
      isNativeError(cause) && cause.code === 'ADDON_MISMATCH' ? cause.code : 'ADDON_MISSING',
      `The compiled addon for ${process.platform}-${process.arch} could not be loaded from ${path}: ${reason}\n` +
        'In a checkout, "npm run build:native" builds it (a C++17 compiler and cmake 3.25 are needed).',
      { cause },
    );
  }
  if (loaded.version !== version) {
    throw new Gpt2Error(
      'ADDON_MISMATCH',
      `Expected the addon of version ${version} but ${path} is of version ${loaded.version}. ` +
        'In a checkout, "npm run build:native" rebuilds it.',
    );
  }
  return loaded;
}

/** Whether an error has a code, as all errors of the addon have. */
export function isNativeError(error: unknown): error is Error & { code: string } {
  return isError(error) && typeof (error as { code?: unknown }).code === 'string';
}
