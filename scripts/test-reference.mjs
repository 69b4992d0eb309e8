// npm run test:reference: compares the 124M shape with random weights with the PyTorch reference.
//
// It generates the checkpoint (498 MB) and the reference's logits, which needs Python with PyTorch and NumPy:
// GPT2_PYTHON, or the first of python3 and /usr/bin/python3 that has them.

import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { loadModel } = createRequire(import.meta.url)('../dist/index.js');
const reference = fileURLToPath(new URL('reference', import.meta.url));
const vocabSize = 50257;
const tokenCount = 96;

// Errors in standard deviations of the reference's logits. The bound of f32 is a requirement. The others are about
// twice the measured errors, which include the rounding of the weights.
const bounds = [
  { type: 'f32', cacheType: 'f32', rms: 2e-6, max: 1e-4, argmax: 1 },
  { type: 'f32', cacheType: 'f16', rms: 1.1e-3, max: 7e-3, argmax: 0.97 },
  { type: 'f16', cacheType: 'f16', rms: 3e-3, max: 2e-2, argmax: 0.97 },
  { type: 'bf16', cacheType: 'f16', rms: 1.7e-2, max: 0.1, argmax: 0.95 },
  { type: 'q8_0', cacheType: 'f16', rms: 5.5e-2, max: 0.3, argmax: 0.85 },
  { type: 'q4_k', cacheType: 'f16', rms: 0.45, max: 2.2, argmax: 0.2 },
  { type: 'q4_0', cacheType: 'f16', rms: 0.5, max: 2.6, argmax: 0.2 },
];

let passed = 0;
let failed = 0;
function check(name, holds, detail) {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${name}${detail ? `: ${detail}` : ''}`);
  if (holds) passed++;
  else failed++;
}

function findPython() {
  const candidates = [process.env.GPT2_PYTHON, 'python3', '/usr/bin/python3'].filter(Boolean);
  for (const python of candidates) {
    if (spawnSync(python, ['-c', 'import torch, numpy']).status === 0) return python;
  }
  throw new Error(
    `None of ${candidates.join(', ')} has PyTorch and NumPy (Debian: apt install python3-torch python3-numpy)`,
  );
}

function runPython(...args) {
  const { status } = spawnSync(python, args, {
    cwd: reference,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error(`${args[0]} failed`);
}

/** Returns the rms and largest error in standard deviations of the golden logits, and the share of equal argmaxes. */
function compare(logits, golden) {
  const count = golden.length;
  const mean = golden.reduce((sum, x) => sum + x, 0) / count;
  const deviation = Math.sqrt(golden.reduce((sum, x) => sum + (x - mean) ** 2, 0) / count);
  let max = 0;
  let squares = 0;
  for (let i = 0; i < count; i++) {
    const error = Math.abs(logits[i] - golden[i]) / deviation;
    max = Math.max(max, Number.isNaN(error) ? Infinity : error);
    squares += error * error;
  }
  const argmax = (data, row) => {
    const slice = data.subarray(row * vocabSize, (row + 1) * vocabSize);
    return slice.indexOf(slice.reduce((a, b) => Math.max(a, b)));
  };
  const rows = count / vocabSize;
  let equal = 0;
  for (let row = 0; row < rows; row++) {
    if (argmax(logits, row) === argmax(golden, row)) equal++;
  }
  return { rms: Math.sqrt(squares / count), max, argmax: equal / rows };
}

const python = findPython();
const folder = await mkdtemp(join(tmpdir(), 'gpt2-native-reference-'));
try {
  const checkpoint = join(folder, 'checkpoint');
  const tokens = Array.from({ length: tokenCount }, (_, i) => (i * 7919 + 464) % vocabSize);
  await writeFile(join(folder, 'tokens.json'), JSON.stringify(tokens));
  runPython('random_checkpoint.py', checkpoint, '--seed', '7');
  runPython('logits.py', checkpoint, join(folder, 'tokens.json'), join(folder, 'logits.bin'));
  const golden = new Float32Array((await readFile(join(folder, 'logits.bin'))).buffer);

  for (const { type, cacheType, ...bound } of bounds) {
    const model = await loadModel(checkpoint, {
      type,
      cacheType,
      cacheDir: folder,
    });
    const { data } = await model.logits(tokens, { positions: 'all' });
    const error = compare(data, golden);
    check(
      `${type}, cache ${cacheType}`,
      error.rms <= bound.rms && error.max <= bound.max && error.argmax >= bound.argmax,
      `rms ${error.rms.toExponential(1)} (≤ ${bound.rms}), max ${error.max.toExponential(1)} (≤ ${bound.max}), ` +
        `argmax ${(error.argmax * 100).toFixed(0)} % (≥ ${bound.argmax * 100} %)`,
    );
    if (type !== 'f32' || cacheType !== 'f32') {
      await model.dispose();
      continue;
    }

    const session = model.createSession();
    const rows = new Float32Array(data.length);
    for (const [i, token] of tokens.entries()) {
      rows.set((await session.evaluate([token])).data, i * vocabSize);
    }
    const stepwise = compare(rows, golden);
    check(
      'one token at a time',
      stepwise.max <= bound.max && stepwise.argmax === 1,
      `max ${stepwise.max.toExponential(1)}`,
    );

    const single = await loadModel(checkpoint, {
      type,
      threads: 1,
      cacheDir: folder,
    });
    const other = (await single.logits(tokens, { positions: 'all' })).data;
    check('1 thread gives the same bits', Buffer.compare(toBytes(other), toBytes(data)) === 0);
    await Promise.all([model.dispose(), single.dispose()]);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function toBytes(array) {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
