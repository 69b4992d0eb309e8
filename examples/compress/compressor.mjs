// Bytes to compressed files and back. The segments of a file have contexts and coders of their own, so several are in
// flight at a time. The engine evaluates their calls in one batch, which does not change a bit of their logits.

import { createHash } from 'node:crypto';
import { decodeBytes, encodeBytes } from './byte-tokens.mjs';
import { readContainer, segmentTokens, writeContainer } from './container.mjs';
import { fingerprintOf } from './fingerprint.mjs';
import { decodeSegment, encodeSegment } from './segment.mjs';

/** @typedef {import('gpt2-native').Model} Model */

const defaultInFlight = 8;

/**
 * @param {Model} model
 * @param {Buffer} content
 * @param {{ inFlight?: number }} [options] the number of segments that are encoded at a time
 * @returns {Promise<Buffer>}
 */
export async function compress(model, content, { inFlight = defaultInFlight } = {}) {
  const summary = { digest: digestOf(content), length: content.length };
  const stored = writeContainer({ mode: 'stored', ...summary, content });
  const tokens = encodeBytes(model.tokenizer, content);
  /** @type {number[][]} */
  const parts = [];
  for (let start = 0; start < tokens.length; start += segmentTokens) {
    parts.push(tokens.slice(start, start + segmentTokens));
  }
  const coded = writeContainer({
    mode: 'coded',
    ...summary,
    tokenCount: tokens.length,
    fingerprint: await fingerprintOf(model),
    segments: await mapInFlight(parts, inFlight, (part) => encodeSegment(model, part)),
  });
  return coded.length < stored.length ? coded : stored;
}

/**
 * @param {Model} model
 * @param {Buffer} file
 * @param {{ inFlight?: number }} [options] the number of segments that are decoded at a time
 * @returns {Promise<Buffer>}
 */
export async function decompress(model, file, { inFlight = defaultInFlight } = {}) {
  const container = readContainer(file);
  const content =
    container.mode === 'stored' ? container.content : await decode(model, container, inFlight);
  if (content.length !== container.length || !digestOf(content).equals(container.digest)) {
    throw new Error('The content is not the one that was compressed: its checksum is wrong.');
  }
  return content;
}

/**
 * @param {Model} model
 * @param {import('./container.mjs').Coded} container
 * @param {number} inFlight
 */
async function decode(model, { fingerprint, segments, tokenCount }, inFlight) {
  if (!(await fingerprintOf(model)).equals(fingerprint)) {
    throw new Error(
      'The file was compressed with another model, another type of its weights, or the kernels of another instruction set (GPT2_NATIVE_KERNELS).',
    );
  }
  const parts = await mapInFlight(segments, inFlight, (segment, index) =>
    decodeSegment(model, segment, Math.min(segmentTokens, tokenCount - index * segmentTokens)),
  );
  return Buffer.concat(parts.map((part) => decodeBytes(model.tokenizer, part)));
}

/**
 * Maps items with so many calls in flight. The results are in the order of the items.
 *
 * @template Item, Result
 * @param {readonly Item[]} items
 * @param {number} inFlight
 * @param {(item: Item, index: number) => Promise<Result>} map
 */
async function mapInFlight(items, inFlight, map) {
  /** @type {Result[]} */
  const results = [];
  const waiting = items.entries();
  const worker = async () => {
    for (const [index, item] of waiting) results[index] = await map(item, index);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return results;
}

/** @param {Buffer} content */
function digestOf(content) {
  return createHash('sha256').update(content).digest().subarray(0, 16);
}
