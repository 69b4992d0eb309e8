// npm start: runs the command with the bundled model.

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const { defaultModel } = createRequire(import.meta.url)('../dist/local-model.js');
const gpt2 = fileURLToPath(new URL('../dist/cli/gpt2.js', import.meta.url));
const prompt = process.argv[2] ?? 'The old man looked out of the window';

function run(...args) {
  const shown = args.map((arg) => (/^[\w.=-]+$/.test(arg) ? arg : JSON.stringify(arg)));
  console.error(`\n$ npx gpt2 ${shown.join(' ')}`);
  const { status, signal } = spawnSync(process.execPath, [gpt2, ...args], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`gpt2 ${args[0]} ended with ${signal ?? status}`);
}

// The first call names no model, so the command prints which one it uses. Later calls name it, so it does not.
run('generate', prompt, '--max-tokens', '100', '--top-k', '40');
run('logits', prompt, '--model', defaultModel);
