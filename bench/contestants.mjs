// The measured libraries: a program in contestants/, the types that it opens, and the file for each type.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { npm } from '../scripts/npm.mjs';
import { ggufFile, onnxFile } from './weights.mjs';

export const allTypes = ['f32', 'f16', 'q8_0', 'q4_0'];

export const contestants = {
  'gpt2-native': { types: allTypes, file: ggufFile },
  'node-llama-cpp': { types: allTypes, file: ggufFile },
  'onnxruntime-node': { types: ['f32', 'q8_0', 'q4_0'], file: onnxFile },
};

/** Installs the peers into bench/peers, without their install scripts, which would download binaries for GPUs. */
export function installPeers() {
  const folder = fileURLToPath(new URL('peers', import.meta.url));
  if (existsSync(`${folder}/node_modules`)) return;
  const [program, ...first] = npm;
  const args = [...first, 'install', '--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync(program, args, { cwd: folder });
}
