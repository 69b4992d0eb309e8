#!/usr/bin/env node
// prebuildify calls this as its node-gyp. Compiles the addon with cmake-js in the folder that prebuild.mjs prepared, where
// prebuildify expects it: build/Release. Its arguments say what node-gyp needs to know; cmake-js takes Node-API's headers
// from node-api-headers.

import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../build-engine.mjs';
import { vendorGgml } from '../vendor-ggml.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = process.env.GPT2_PREBUILD;
const definitions = {
  CMAKE_TOOLCHAIN_FILE: join(folder, 'toolchain.cmake'),
  GGML_SOURCE_DIR: await vendorGgml(),
  GPT2_METAL: 'OFF', // needs Apple's SDK
};
run(
  process.execPath,
  createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js'),
  'compile',
  ...['--directory', root, '--out', join(folder, 'build'), '--log-level=warn'],
  `--parallel=${availableParallelism()}`,
  ...Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`),
);
