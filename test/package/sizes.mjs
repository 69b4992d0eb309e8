import { join } from 'node:path';
import { check, ownAddon, pack, root, run } from './context.mjs';

const limitMB = 15;
const parts = [
  ['the default model', (path) => path.startsWith('models/')],
  ['the addon of this platform', (path) => join(root, path) === ownAddon],
  ['the addons of other platforms', (path) => path.startsWith('prebuilds/')],
  ['JavaScript and types', (path) => path.startsWith('dist/')],
  ["ggml's source", (path) => path.startsWith('native/ggml/')],
  ["the engine's source", (path) => /^(native|binding)\//.test(path)],
  ['everything else', () => true],
];

const newestGlibc = '2.28';

/** Prints the size of each part; all but the model and other platforms' addons must stay below the limit. */
export function testSizes() {
  const { files, size, unpackedSize } = pack();
  const sizes = new Map(parts.map(([name]) => [name, 0]));
  for (const { path, size: bytes } of files) {
    const [name] = parts.find(([, isPart]) => isPart(path));
    sizes.set(name, sizes.get(name) + bytes);
  }
  const inMB = (bytes) => `${(bytes / 1e6).toFixed(2).padStart(6)} MB`;
  for (const [name, bytes] of sizes) console.log(`${inMB(bytes)}  ${name}`);
  console.log(`${inMB(unpackedSize)}  all ${files.length} files; ${inMB(size).trim()} packed`);
  const counted =
    unpackedSize - sizes.get('the default model') - sizes.get('the addons of other platforms');
  check(`${inMB(counted).trim()} are at most ${limitMB} MB`, counted <= limitMB * 1e6);
  const has = (name) => files.some(({ path }) => path === name);
  check('the licences are in it', ['LICENSE', 'dist/NOTICES.md', 'native/ggml/LICENSE'].every(has));
  const strange = files.filter(({ path }) => /\.(tmp|tsbuildinfo|js\.map)$|(^|\/)\./.test(path));
  check('no file is left over in it', strange.length === 0);

  const symbols = run(root, 'objdump', ['-T', ownAddon]);
  const versions = [...symbols.matchAll(/GLIBC_([\d.]+)/g)].map(([, version]) => version);
  const newest = versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  const isOldEnough = newest.localeCompare(newestGlibc, 'en', { numeric: true }) <= 0;
  check(`the addon needs glibc ${newest}, at most ${newestGlibc}`, isOldEnough);
  const exported = symbols.split('\n').filter((line) => / g .*\.text/.test(line));
  check('the addon exports two symbols', exported.length === 2);
}
