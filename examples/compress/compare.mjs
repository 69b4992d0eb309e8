// The sizes of a file as this example and other programs compress it, and the time that this one takes.

import { spawnSync } from 'node:child_process';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { compress, decompress } from './compressor.mjs';

/**
 * @param {import('gpt2-native').Model} model
 * @param {string} name
 * @param {Buffer} content
 * @returns {Promise<string>} a table, and the speed
 */
export async function compare(model, name, content) {
  const start = performance.now();
  const file = await compress(model, content);
  const encoded = performance.now();
  const restored = await decompress(model, file);
  const decoded = performance.now();
  if (!restored.equals(content)) throw new Error(`${name} was not restored.`);

  const sizes = [
    { method: name, bytes: content.length },
    { method: 'gpt2-native', bytes: file.length },
    { method: 'gzip -9', bytes: gzipSync(content, { level: 9 }).length },
    { method: 'brotli 11', bytes: brotli(content) },
    { method: 'xz -9e', bytes: xz(content) },
  ];
  const rows = sizes.flatMap(({ method, bytes }) =>
    bytes === undefined ? [] : [row(method, bytes, (8 * bytes) / content.length)],
  );
  const speed = (/** @type {number} */ ms) => `${(content.length / ms).toFixed(1)} kB/s`;
  return [
    ...['| | bytes | bits per byte |', '| --- | --- | --- |', ...rows, ''],
    `Restored without loss. Encoded at ${speed(encoded - start)}, decoded at ${speed(decoded - encoded)}.`,
  ].join('\n');
}

/**
 * @param {string} method
 * @param {number} bytes
 * @param {number} bitsPerByte NaN for an empty file
 */
function row(method, bytes, bitsPerByte) {
  const ratio = Number.isFinite(bitsPerByte) ? bitsPerByte.toFixed(3) : '–';
  return `| ${method} | ${bytes.toLocaleString('en')} | ${ratio} |`;
}

/** @param {Buffer} content */
function brotli(content) {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
  };
  return brotliCompressSync(content, { params }).length;
}

/**
 * @param {Buffer} content
 * @returns {number | undefined} undefined if the program is not installed
 */
function xz(content) {
  const { error, stdout } = spawnSync('xz', ['-9e'], { input: content, maxBuffer: Infinity });
  return error ? undefined : stdout.length;
}
