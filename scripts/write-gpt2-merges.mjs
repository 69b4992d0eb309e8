// node scripts/write-gpt2-merges.mjs <vocab.bpe>: writes lib/tokenizer/gpt2-merges.ts from OpenAI's file
// (https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe), the merges.txt of Hugging Face.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { byteOrder, spellBytes } = createRequire(import.meta.url)(
  '../dist/tokenizer/byte-spelling.js',
);

const [, , path] = process.argv;
const merges = readFileSync(path, 'utf8').trimEnd().split('\n').slice(1);
const ids = new Map(Array.from(byteOrder, (byte, id) => [spellBytes(Uint8Array.of(byte)), id]));
const pairs = Buffer.alloc(merges.length * 4);
for (const [index, merge] of merges.entries()) {
  const [left, right] = merge.split(' ');
  pairs.writeUInt16LE(ids.get(left), index * 4);
  pairs.writeUInt16LE(ids.get(right), index * 4 + 2);
  ids.set(left + right, ids.size);
}

writeFileSync(
  new URL('../lib/tokenizer/gpt2-merges.ts', import.meta.url),
  `// Written by scripts/write-gpt2-merges.mjs.

/**
 * GPT-2's ${merges.length} merges in the order in which they were learnt, in base64: the ids of the left and the right token as
 * little-endian 16-bit integers. The merge with index i forms the token 256 + i.
 */
export const gpt2Merges =
  '${pairs.toString('base64')}';
`,
);
