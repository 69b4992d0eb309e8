// Runs before the package is packed: copies the headers of Node-API to where "gpt2-native build" expects them.

import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const headers = join(root, 'binding', 'headers');

await vendorGgml();
rmSync(headers, { recursive: true, force: true });
for (const folder of ['node-addon-api', 'node-api-headers/include']) {
  const from = join(root, 'node_modules', folder);
  for (const file of readdirSync(from).filter((name) => name.endsWith('.h'))) {
    cpSync(join(from, file), join(headers, file));
  }
}
