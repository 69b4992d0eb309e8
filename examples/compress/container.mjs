// The format of a compressed file. Integers are little-endian.
//
//   0  magic "g2ac"
//   4  version
//   5  mode: 0 stored, 1 coded
//   6  length of the content in bytes, u32
//  10  number of its tokens, u32
//  14  SHA-256 of the content, first 16 bytes
//  30  fingerprint of the model, 16 bytes
//  46  CRC-32 of everything else, u32
//  50  stored: the content
//      coded: the length of each segment in bytes, u16; then the segments

import { crc32 } from 'node:zlib';

/** Every segment but the last has so many tokens. */
export const segmentTokens = 4096;

const magic = Buffer.from('g2ac');
const version = 1;
const modes = Object.freeze({ stored: 0, coded: 1 });
export const headerLength = 50;
const digestLength = 16;
const checksumOffset = headerLength - 4;
const maxLength = 2 ** 32 - 1;

/**
 * @typedef {object} Stored
 * @property {'stored'} mode
 * @property {Buffer} digest of the content
 * @property {number} length of the content
 * @property {Buffer} content
 */

/**
 * @typedef {object} Coded
 * @property {'coded'} mode
 * @property {Buffer} digest of the content
 * @property {number} length of the content
 * @property {number} tokenCount
 * @property {Buffer} fingerprint of the model
 * @property {Uint8Array[]} segments
 */

/** @param {Stored | Coded} container */
export function writeContainer(container) {
  const isCoded = container.mode === 'coded';
  if (container.length > maxLength)
    throw new Error(`Expected at most ${maxLength} bytes of content.`);
  const header = Buffer.alloc(headerLength);
  magic.copy(header);
  header.writeUInt8(version, 4);
  header.writeUInt8(modes[container.mode], 5);
  header.writeUInt32LE(container.length, 6);
  container.digest.copy(header, 14);
  if (isCoded) {
    header.writeUInt32LE(container.tokenCount, 10);
    container.fingerprint.copy(header, 30);
  }
  const file = Buffer.concat([
    header,
    ...(isCoded ? segmentParts(container) : [container.content]),
  ]);
  file.writeUInt32LE(checksumOf(file), checksumOffset);
  return file;
}

/** @param {Coded} container */
function segmentParts({ segments }) {
  const lengths = Buffer.alloc(2 * segments.length);
  for (const [index, { length }] of segments.entries()) lengths.writeUInt16LE(length, 2 * index);
  return [lengths, ...segments];
}

/**
 * Reads a file that may be anything. Its lengths are compared with its size before they are used.
 *
 * @param {Buffer} file
 * @returns {Stored | Coded}
 */
export function readContainer(file) {
  if (!file.subarray(0, magic.length).equals(magic)) {
    throw new Error('This is not a file that `compress` wrote.');
  }
  if (file.length < headerLength) throw new Error('The file is truncated.');
  if (file[4] !== version) {
    throw new Error(`Expected version ${version} of the format but received ${file[4]}.`);
  }
  if (checksumOf(file) !== file.readUInt32LE(checksumOffset)) {
    throw new Error('The file is damaged or truncated: its checksum is wrong.');
  }
  const length = file.readUInt32LE(6);
  const tokenCount = file.readUInt32LE(10);
  const digest = file.subarray(14, 14 + digestLength);
  const fingerprint = file.subarray(30, 30 + digestLength);
  const body = file.subarray(headerLength);
  switch (file[5]) {
    case modes.stored:
      if (body.length !== length) throw inconsistent();
      return { mode: 'stored', digest, length, content: body };
    case modes.coded:
      if (tokenCount > length) throw inconsistent(); // a token has at least one byte
      return {
        mode: 'coded',
        digest,
        length,
        tokenCount,
        fingerprint,
        segments: splitSegments(body, Math.ceil(tokenCount / segmentTokens)),
      };
    default:
      throw inconsistent();
  }
}

/**
 * @param {Buffer} body
 * @param {number} count
 */
function splitSegments(body, count) {
  let start = 2 * count;
  if (body.length < start) throw inconsistent();
  const segments = [];
  for (let index = 0; index < count; index++) {
    const end = start + body.readUInt16LE(2 * index);
    segments.push(body.subarray(start, end));
    start = end;
  }
  if (start !== body.length) throw inconsistent();
  return segments;
}

/** @param {Buffer} file */
function checksumOf(file) {
  return crc32(file.subarray(headerLength), crc32(file.subarray(0, checksumOffset)));
}

function inconsistent() {
  return new Error('The file is damaged: its header and its size do not agree.');
}
