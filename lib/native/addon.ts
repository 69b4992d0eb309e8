// Finds the compiled addon, loads it on first use and checks that it belongs to this package.

import { Gpt2Error, isError } from '../errors.js';
import { platformName, prebuiltFor, prebuiltPlatforms } from './prebuilt.js';
import type { Addon } from './types.js';

/** The version in package.json, whose path is literal, so that bundlers follow it. */
export const version: string = require('../../package.json').version;

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
  const loaded = loadBuilt() ?? loadPrebuilt();
  if (loaded.version !== version) {
    throw new Gpt2Error(
      'ADDON_MISMATCH',
      `Expected the addon of version ${version} but the compiled one is of version ${loaded.version}. ` +
        '"npx gpt2-native build" builds it again; in a checkout, "npm run build:native" does.',
    );
  }
  return loaded;
}

/** The addon that was compiled on this machine, in a checkout or by "gpt2-native build". */
function loadBuilt(): Addon | undefined {
  try {
    return require('../../build/Release/gpt2_native.node');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw loadingError('build/Release/gpt2_native.node', error);
  }
}

function loadPrebuilt(): Addon {
  const platform = platformName();
  const prebuilt = prebuiltFor(platform);
  if (!prebuilt) throw missing(platform, `there is none for ${platform}`);
  try {
    return prebuilt.load();
  } catch (error) {
    if (isAbsent(error)) throw missing(platform, `${prebuilt.path} does not exist`, error);
    throw loadingError(prebuilt.path, error);
  }
}

// Jest and bundlers have errors of their own for an absent module; all of them have this code.
function isAbsent(error: unknown): boolean {
  return isNativeError(error) && error.code === 'MODULE_NOT_FOUND';
}

function missing(platform: string, reason: string, cause?: unknown): Gpt2Error {
  return new Gpt2Error(
    'ADDON_MISSING',
    `Expected a compiled addon for ${platform} (Node ${process.versions.node}) in build/Release or prebuilds, but ${reason}.\n` +
      `The package has prebuilt addons for ${prebuiltPlatforms.join(', ')}.\n` +
      '- If this is one of them, install gpt2-native again on this machine: a node_modules folder of another platform, or a bundle, lacks it.\n' +
      '- "npx gpt2-native build" compiles one; it needs a C++17 compiler and cmake 3.25.',
    { cause },
  );
}

function loadingError(path: string, cause: unknown): Gpt2Error {
  const reason = isError(cause) ? cause.message : String(cause);
  return new Gpt2Error(
    isNativeError(cause) && cause.code === 'ADDON_MISMATCH' ? cause.code : 'ADDON_MISSING',
    `The compiled addon ${path} could not be loaded: ${reason}\n` +
      '"npx gpt2-native build" compiles one for this machine; in a checkout, "npm run build:native" does.',
    { cause },
  );
}

/** Whether an error has a code, as all errors of the addon have. */
export function isNativeError(error: unknown): error is Error & { code: string } {
  return isError(error) && typeof (error as { code?: unknown }).code === 'string';
}
