// node test/package/use.mjs <folder of a tarball>: installs the package on this platform and uses it, as require() and as
// import. Needs nothing but Node and npm.

import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { check, folderWith, isRight, node, npm, programs } from './context.mjs';

const folder = resolve(process.argv[2]);
const tarball = readdirSync(folder).find((file) => file.endsWith('.tgz'));
const place = folderWith('use', programs);
npm(place, ['install', '--no-audit', '--no-fund', '--silent', join(folder, tarball)]);
for (const program of ['program.cjs', 'program.mjs']) {
  check(`${process.platform}-${process.arch}, ${program}`, isRight(node(place, program)));
}
