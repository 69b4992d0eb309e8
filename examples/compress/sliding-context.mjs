// A sequence that may be longer than the model's context. When the context is full, its last half is evaluated again at
// the start of an empty one: positions are learned, so keys and values cannot move. When that happens depends on the
// number of tokens alone, so the encoder and the decoder see each token after the same ones.

/** @typedef {import('gpt2-native').Model} Model */

export class SlidingContext {
  #contextLength;
  #vocabSize;
  #session;

  /** @param {Model} model */
  constructor(model) {
    this.#contextLength = model.config.contextLength;
    this.#vocabSize = model.config.vocabSize;
    this.#session = model.createSession();
  }

  /** The number of tokens that the next call may append. */
  get room() {
    const free = this.#contextLength - this.#session.length;
    return free > 0 ? free : this.#contextLength - this.#keptLength;
  }

  /**
   * Appends tokens.
   *
   * @param {number[]} tokens at most `room`
   * @returns {Promise<Float32Array[]>} for each of them, the logits of the token after it
   */
  async append(tokens) {
    /** @type {number[]} */
    const kept = [];
    if (this.#session.length === this.#contextLength) {
      kept.push(...this.#session.tokens.slice(this.#contextLength - this.#keptLength));
      this.#session.rewind(0);
    }
    const { data } = await this.#session.evaluate([...kept, ...tokens], {
      positions: tokens.map((_, index) => kept.length + index),
    });
    return tokens.map((_, row) =>
      data.subarray(row * this.#vocabSize, (row + 1) * this.#vocabSize),
    );
  }

  dispose() {
    this.#session.dispose();
  }

  get #keptLength() {
    return Math.floor(this.#contextLength / 2);
  }
}
