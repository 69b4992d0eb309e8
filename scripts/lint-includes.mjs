// Checks that no include points up: a folder of native/ includes only from itself and from those before it in
// `layers`, by paths from native/, and nothing in native/ includes binding/ or Node-API. All layers are in the package.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const layers = ['base', 'io', 'kernels', 'gguf', 'text', 'ops', 'model', 'serving'];
const files = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', 'native/*.h', 'native/*.cc'],
  { cwd: root, encoding: 'utf8' },
)
  .trim()
  .split('\n')
  .filter((file) => existsSync(join(root, file)));

// The package can be compiled where it is installed.
const { files: packed } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
for (const layer of layers) {
  if (packed.includes(`native/${layer}`)) continue;
  console.error(`package.json: expected "files" to have native/${layer}`);
  process.exitCode = 1;
}

for (const file of files) {
  const own = layers.indexOf(file.split('/')[1]);
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, mark, include] of text.matchAll(/^ *# *include *(["<])([^">]+)/gm)) {
    const layer = layers.indexOf(include.split('/')[0]);
    // Tests, benchmarks and fuzz targets are above all layers, and may include their neighbours.
    const pointsUp = own >= 0 && mark === '"' && (layer < 0 || layer > own);
    if (!pointsUp && !/(^|\/)binding\/|napi|node_api/.test(include)) continue;
    console.error(
      `${file} includes ${include}. Expected an include from ${(own < 0 ? layers : layers.slice(0, own + 1)).join(', ')}`,
    );
    process.exitCode = 1;
  }
}
