// npm run prebuilds [-- linux-x64-glibc …]: makes prebuilds/ for these platforms, by default for all, on Linux on x64.
//
// prebuildify names the files and calls cmake-js.mjs beside this file as its node-gyp, which calls cmake-js. zig is the
// compiler for every platform: it brings the headers and the stubs of each C library, of glibc in the chosen version.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npm } from '../npm.mjs';
import { platforms } from './platforms.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..', '..');

/** Makes the addon of a platform, as prebuilds/<platform>-<arch>/gpt2-native[.<libc>].node. */
function prebuild(name) {
  const { os, arch, libc } = platforms[name];
  const folder = join(root, 'build-prebuild', name);
  mkdirSync(folder, { recursive: true });
  // prebuildify takes the package's name from its working folder.
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'gpt2-native', version }));
  writeTools(folder, platforms[name]);
  execFileSync(
    process.execPath,
    [
      join(here, 'node_modules', 'prebuildify', 'bin.js'),
      ...['--cwd', folder, '--out', root, '--napi', '--platform', os, '--arch', arch],
      ...(libc ? ['--tag-libc', libc] : []),
      ...['--node-gyp', join(here, 'cmake-js.mjs')],
    ],
    {
      stdio: 'inherit',
      env: { ...process.env, GPT2_PREBUILD: folder },
    },
  );
}

/** Writes zig's tools as programs of one word, and the toolchain file that names them. */
function writeTools(folder, { zig, system, processor, cFlags = [], definitions: more = {} }) {
  const program = join(here, 'node_modules', '@oven', 'zig-linux-x64', 'zig');
  const tool = (name, ...args) => {
    const path = join(folder, name);
    writeIfChanged(path, `#!/bin/sh\nexec '${program}' ${args.join(' ')} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const definitions = {
    CMAKE_SYSTEM_NAME: system,
    CMAKE_SYSTEM_PROCESSOR: processor,
    CMAKE_C_COMPILER: tool('cc', 'cc', '-target', zig, ...cFlags),
    CMAKE_CXX_COMPILER: tool('c++', 'c++', '-target', zig),
    CMAKE_AR: tool('ar', 'ar'),
    CMAKE_RANLIB: tool('ranlib', 'ranlib'),
    CMAKE_DLLTOOL: tool('dlltool', 'dlltool'),
    ...more,
    CMAKE_TRY_COMPILE_TARGET_TYPE: 'STATIC_LIBRARY', // zig has no -fPIE, which CMake adds for programs
  };
  const lines = Object.entries(definitions).map(([name, value]) => `set(${name} "${value}")\n`);
  writeIfChanged(join(folder, 'toolchain.cmake'), lines.join(''));
}

// A newer tool would compile everything again.
function writeIfChanged(path, text) {
  if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text);
}

if (!existsSync(join(here, 'node_modules'))) {
  const [program, ...first] = npm;
  const args = [...first, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync(program, args, { cwd: here, stdio: 'inherit' });
}
const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : Object.keys(platforms)) {
  if (!(name in platforms)) {
    throw new Error(`Expected one of ${Object.keys(platforms).join(', ')} but received ${name}`);
  }
  prebuild(name);
}
