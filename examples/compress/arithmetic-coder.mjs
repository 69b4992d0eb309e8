// Arithmetic coding (Witten, Neal and Cleary 1987, "Arithmetic coding for data compression"): a sequence of symbols is a
// number in an interval that each symbol narrows to its share. The interval is kept in integers of 32 bits and grows byte
// by byte, as in range coders (Martin 1979; Schindler 1998). A carry goes into the bytes that are already there.

/**
 * Distributions are cumulative frequencies: `cumulative[s]` is the sum of the frequencies before symbol s, and the last
 * element is `total`.
 *
 * @typedef {Float64Array} Cumulative
 */

/** The sum of the frequencies: the shortest range, so that a frequency of 1 always gets a part of it. */
export const total = 2 ** 24;
const wholeRange = 2 ** 32;

/**
 * range · cumulative / total, rounded down. The product may have 56 bits, and a double is exact up to 53. So the halves
 * of the range are multiplied apart.
 *
 * @param {number} range
 * @param {number} cumulative
 */
function scale(range, cumulative) {
  const high = Math.floor(range / 2 ** 16);
  const low = range % 2 ** 16;
  return Math.floor((high * cumulative + Math.floor((low * cumulative) / 2 ** 16)) / 2 ** 8);
}

export class ArithmeticEncoder {
  /** @type {number[]} */
  #bytes = [];
  #low = 0;
  #range = wholeRange;

  /**
   * @param {Cumulative} cumulative
   * @param {number} symbol
   */
  encode(cumulative, symbol) {
    const start = scale(this.#range, cumulative[symbol]);
    const end = scale(this.#range, cumulative[symbol + 1]);
    this.#low += start;
    this.#range = end - start;
    this.#carry();
    while (this.#range < total) {
      this.#shift();
      this.#range *= 2 ** 8;
    }
  }

  /** Ends the sequence. Returns the shortest bytes of a number in the interval; zeros follow them. */
  finish() {
    // The range is at least 2 ** 24, so the interval has a multiple of it.
    this.#low = Math.ceil(this.#low / 2 ** 24) * 2 ** 24;
    this.#carry();
    this.#shift();
    return Uint8Array.from(this.#bytes);
  }

  #carry() {
    if (this.#low < wholeRange) return;
    this.#low -= wholeRange;
    let last = this.#bytes.length - 1;
    while (this.#bytes[last] === 0xff) this.#bytes[last--] = 0;
    this.#bytes[last]++; // the number is below 1, so there is such a byte
  }

  #shift() {
    this.#bytes.push(Math.floor(this.#low / 2 ** 24));
    this.#low = (this.#low % 2 ** 24) * 2 ** 8;
  }
}

export class ArithmeticDecoder {
  #bytes;
  #next = 0;
  #range = wholeRange;
  /** The number, relative to the start of the interval. */
  #code = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
    for (let i = 0; i < 4; i++) this.#shift();
  }

  /**
   * @param {Cumulative} cumulative
   * @returns {number} the symbol
   */
  decode(cumulative) {
    let symbol = 0;
    let after = cumulative.length - 1;
    while (after - symbol > 1) {
      const middle = (symbol + after) >>> 1;
      if (scale(this.#range, cumulative[middle]) <= this.#code) symbol = middle;
      else after = middle;
    }
    const start = scale(this.#range, cumulative[symbol]);
    const end = scale(this.#range, cumulative[after]);
    this.#code -= start;
    this.#range = end - start;
    while (this.#range < total) {
      this.#shift();
      this.#range *= 2 ** 8;
    }
    return symbol;
  }

  #shift() {
    // The encoder left out three zeros. Whoever reads more is not reading what it wrote.
    if (this.#next === this.#bytes.length + 3) throw new Error('The coded data end too early.');
    this.#code = this.#code * 2 ** 8 + (this.#bytes[this.#next++] ?? 0);
  }
}
