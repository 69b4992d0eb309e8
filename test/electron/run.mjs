// npm run test:electron-example: what of examples/electron runs without Electron's binary.
//
// - The types of the example agree with Electron's and this package's declarations.
// - The utility process's code answers over message ports of Node.
// - The page, in Chromium with a stand-in bridge, shows what the engine sends; screenshots go to build-screens/.
// - An archive of the example keeps the addon and the model outside, where the package finds them.
//
// npm run test:electron starts the example itself, where Electron is installed. The tools are installed into this folder
// on the first run, without their install scripts. Needs Debian's package chromium.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npm } from '../../scripts/npm.mjs';
import { testArchive } from './archive.mjs';
import { testEngine } from './engine.mjs';
import { testPage } from './page.mjs';
import { testTypes } from './types.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
if (!existsSync(join(here, 'node_modules'))) {
  const [program, ...first] = npm;
  const args = [...first, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'];
  execFileSync(program, args, { cwd: here, stdio: 'inherit' });
}
testTypes();
await testEngine();
await testPage();
await testArchive();
