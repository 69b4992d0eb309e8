// npm run test:package [-- sizes runtimes …]: packs the package and uses it as its users do. Default: all parts but
// `next`, a route of Next.js, `build`, compiling the source in it, and `foreign`, the addons of other platforms.
//
// The tools are installed into this folder on the first run, without their install scripts. Runs on Linux on x64.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { testBuild } from './build.mjs';
import { testBundlers } from './bundlers.mjs';
import { node, npm, root, tool } from './context.mjs';
import { testForeign } from './foreign.mjs';
import { testManagers } from './managers.mjs';
import { testNext } from './next.mjs';
import { testPlaces } from './places.mjs';
import { testRuntimes } from './runtimes.mjs';
import { testSizes } from './sizes.mjs';
import { testTypes } from './types.mjs';

const parts = {
  sizes: testSizes,
  managers: testManagers,
  runtimes: testRuntimes,
  places: testPlaces,
  types: testTypes,
  bundlers: testBundlers,
};
const onRequest = { next: testNext, build: testBuild, foreign: testForeign };

if (!existsSync(tool())) {
  const here = fileURLToPath(new URL('.', import.meta.url));
  npm(here, ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']);
}
node(root, join(root, 'scripts', 'prebuild', 'prebuild.mjs'), 'linux-x64-glibc');

const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : Object.keys(parts)) {
  console.log(`\n== ${name}`);
  const start = performance.now();
  await { ...parts, ...onRequest }[name]();
  console.log(`(${((performance.now() - start) / 1000).toFixed(0)} s)`);
}
