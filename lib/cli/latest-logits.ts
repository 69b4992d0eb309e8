import { Gpt2Error } from '../errors.js';
import type { Session } from '../session.js';

/** Computes the logits of a text that changes. A newer version stops the evaluation of the one before. */
export class LatestLogits {
  readonly #session: Session;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(session: Session) {
    this.#session = session;
  }

  /** Resolves to the logits after the tokens, or to undefined if it was called again meanwhile. */
  async after(tokens: () => readonly number[]): Promise<Float32Array | undefined> {
    this.#stop.abort();
    const stop = new AbortController();
    this.#stop = stop;
    const before = this.#running;
    const running = before.then(() =>
      stop.signal.aborted ? undefined : this.#evaluate(tokens(), stop.signal),
    );
    this.#running = running.catch(() => {});
    try {
      const logits = await running;
      return stop.signal.aborted ? undefined : logits;
    } catch (error) {
      if (stop.signal.aborted) return undefined;
      throw error;
    }
  }

  async #evaluate(tokens: readonly number[], signal: AbortSignal): Promise<Float32Array> {
    const evaluated = this.#session.tokens;
    const changed = tokens.findIndex((token, index) => token !== evaluated[index]);
    // Logits are not kept, so at least the last token is evaluated.
    this.#session.rewind(changed === -1 ? tokens.length - 1 : changed);
    const { data } = await this.#session.evaluate(tokens.slice(this.#session.length), { signal });
    if (!data.every(Number.isFinite)) {
      throw new Gpt2Error(
        'NOT_FINITE',
        "Expected finite logits but the model's are not, so no token can be chosen from them.",
      );
    }
    return data;
  }
}
