// The addons that the package contains, one for each platform.

import { closeSync, openSync, readSync } from 'node:fs';
import type { Addon } from './types.js';

interface Prebuilt {
  /** In the package's folder. */
  path: string;
  load: () => Addon;
}

// The paths are literal, so that bundlers see them.
const loaders: Readonly<Record<string, () => Addon>> = {
  'linux-x64-glibc': () => require('../../prebuilds/linux-x64/gpt2-native.glibc.node'),
  'linux-x64-musl': () => require('../../prebuilds/linux-x64/gpt2-native.musl.node'),
  'linux-arm64-glibc': () => require('../../prebuilds/linux-arm64/gpt2-native.glibc.node'),
  'linux-arm64-musl': () => require('../../prebuilds/linux-arm64/gpt2-native.musl.node'),
  'darwin-arm64': () => require('../../prebuilds/darwin-arm64/gpt2-native.node'),
  'darwin-x64': () => require('../../prebuilds/darwin-x64/gpt2-native.node'),
  'win32-x64': () => require('../../prebuilds/win32-x64/gpt2-native.node'),
};

export const prebuiltPlatforms: readonly string[] = Object.keys(loaders);

export function prebuiltFor(platform: string): Prebuilt | undefined {
  const load = Object.hasOwn(loaders, platform) ? loaders[platform] : undefined;
  if (!load) return undefined;
  const [os, arch, libc] = platform.split('-');
  const file = libc ? `gpt2-native.${libc}.node` : 'gpt2-native.node';
  return { path: `prebuilds/${os}-${arch}/${file}`, load };
}

/** This platform: operating system, architecture and, on Linux, the C library, as in "linux-x64-glibc". */
export function platformName(): string {
  const { platform, arch } = process;
  return platform === 'linux' ? `linux-${arch}-${libc()}` : `${platform}-${arch}`;
}

/** The C library of this process, whichever others are installed. */
function libc(): 'glibc' | 'musl' {
  return libcOfProgram() ?? libcOfReport();
}

/** By the dynamic linker that the running program names in its first bytes (ELF, PT_INTERP). */
function libcOfProgram(): 'glibc' | 'musl' | undefined {
  try {
    const start = Buffer.alloc(4096);
    const file = openSync(process.execPath, 'r');
    readSync(file, start, 0, start.length, 0);
    closeSync(file);
    const [, name] = /\/ld-(musl|linux)-/.exec(start.toString('latin1')) ?? [];
    if (name === undefined) return undefined;
    return name === 'musl' ? 'musl' : 'glibc';
  } catch {
    return undefined;
  }
}

/** By Node's report, which takes 6 ms. */
function libcOfReport(): 'glibc' | 'musl' {
  if (!process.report) return 'glibc'; // not Node
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime ? 'glibc' : 'musl';
}
