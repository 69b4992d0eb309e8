import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, folderWith, installation, isRight, node, programs, run, tool } from './context.mjs';

/** The installed package in places that are special. */
export function testPlaces() {
  const plain = installation('plain', programs);

  const spaces = installation('a folder with spaces, Ελληνικά, 日本語 and ünïts', programs);
  check('a folder with spaces and non-Latin letters', isRight(node(spaces, 'program.cjs')));

  // As electron-builder and Forge unpack it.
  const resources = folderWith('electron');
  const unpacked = join(resources, 'app.asar.unpacked');
  mkdirSync(unpacked);
  cpSync(plain, unpacked, { recursive: true });
  check('app.asar.unpacked', isRight(node(unpacked, 'program.cjs')));

  // A mount namespace of its own, so that the folder can be made read-only.
  const script =
    'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" && "$2" program.cjs';
  const args = [
    '--user',
    '--map-root-user',
    '--mount',
    'sh',
    '-c',
    script,
    'sh',
    plain,
    process.execPath,
  ];
  check('a read-only file system', isRight(run(plain, 'unshare', args)));

  check('a single executable', isRight(run(plain, singleExecutable(plain), [])));
}

/** An executable that contains the program, and loads the package from node_modules beside it (docs/installing.md). */
function singleExecutable(folder) {
  // A single executable's own require() knows the modules of Node only.
  const program = `
    const load = require('node:module').createRequire(process.execPath);
    ${programs['program.cjs'].replace('require(', 'load(')}
  `;
  writeFileSync(join(folder, 'sea.cjs'), program);
  const config = { main: 'sea.cjs', output: 'sea.blob', disableExperimentalSEAWarning: true };
  writeFileSync(join(folder, 'sea.json'), JSON.stringify(config));
  node(folder, '--experimental-sea-config', 'sea.json');
  const executable = join(folder, 'program');
  copyFileSync(process.execPath, executable);
  const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
  const postject = tool('postject', 'dist', 'cli.js');
  const args = [postject, executable, 'NODE_SEA_BLOB', 'sea.blob', '--sentinel-fuse', fuse];
  execFileSync(process.execPath, args, { cwd: folder, stdio: 'ignore' }); // it warns about sections
  return executable;
}
