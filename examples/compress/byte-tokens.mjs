// Any bytes as tokens: well-formed UTF-8 as text, every other byte as the token of that byte alone.

import { isUtf8 } from 'node:buffer';

/** @typedef {import('gpt2-native').Tokenizer} Tokenizer */

/**
 * @param {Tokenizer} tokenizer
 * @param {Buffer} bytes
 * @returns {number[]}
 */
export function encodeBytes(tokenizer, bytes) {
  /** @type {number[]} */
  const tokens = [];
  for (let start = 0; start < bytes.length; ) {
    let end = start;
    for (let length = 1; length > 0; end += length) length = characterLength(bytes, end);
    // toString keeps a byte order mark, which TextDecoder removes by default.
    for (const token of tokenizer.encode(bytes.toString('utf8', start, end))) tokens.push(token);
    for (start = end; start < bytes.length && characterLength(bytes, start) === 0; start++) {
      tokens.push(tokenOfByte(tokenizer, bytes[start]));
    }
  }
  // Some tokenizers add a space in front of a text.
  if (!decodeBytes(tokenizer, tokens).equals(bytes)) {
    throw new Error("The model's tokenizer changes the text, so that it cannot be restored.");
  }
  return tokens;
}

/**
 * @param {Tokenizer} tokenizer
 * @param {number[]} tokens
 */
export function decodeBytes(tokenizer, tokens) {
  return Buffer.concat(tokens.map((token) => tokenizer.decodeToken(token)));
}

/**
 * The length of the well-formed character at an index, or 0. The first byte tells the length (RFC 3629, section 3), and
 * isUtf8 refuses overlong forms, surrogates and what lies beyond U+10FFFF.
 *
 * @param {Buffer} bytes
 * @param {number} index
 */
function characterLength(bytes, index) {
  if (index >= bytes.length) return 0;
  const first = bytes[index];
  if (first < 0x80) return 1;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return isUtf8(bytes.subarray(index, index + length)) ? length : 0;
}

/** @type {WeakMap<Tokenizer, Map<number, number>>} */
const byteTables = new WeakMap();

/**
 * @param {Tokenizer} tokenizer
 * @param {number} byte
 */
function tokenOfByte(tokenizer, byte) {
  let table = byteTables.get(tokenizer);
  if (!table) {
    table = new Map();
    for (let token = 0; token < tokenizer.vocabSize; token++) {
      const bytes = tokenizer.decodeToken(token);
      if (bytes.length === 1) table.set(bytes[0], token);
    }
    byteTables.set(tokenizer, table);
  }
  const token = table.get(byte);
  if (token === undefined) throw new Error(`The model's vocabulary has no token for byte ${byte}.`);
  return token;
}
