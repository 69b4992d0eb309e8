/** A stream's turn on its session: adds the stream's tokens to the session and ends the turn. */
export class StreamTurn {
  /** The new tokens so far, yielded or not. */
  readonly generated: number[] = [];
  readonly #sessionTokens: number[];
  readonly #prompt: Uint32Array;
  readonly #release: () => void;
  #hasPrompt = false;
  #held = 0;
  #isOver = false;

  constructor(sessionTokens: number[], prompt: Uint32Array, release: () => void) {
    this.#sessionTokens = sessionTokens;
    this.#prompt = prompt;
    this.#release = release;
  }

  /** Adds the prompt, unless it was added before, and the next `count` new tokens to the session. */
  hold(count: number): void {
    if (this.#isOver) return;
    if (!this.#hasPrompt) for (const token of this.#prompt) this.#sessionTokens.push(token);
    this.#hasPrompt = true;
    const next = this.generated.slice(this.#held, this.#held + count);
    for (const token of next) this.#sessionTokens.push(token);
    this.#held += next.length;
  }

  /** Adds all remaining tokens, yielded or not, and ends the turn. */
  endWithAll(): void {
    this.hold(this.generated.length - this.#held);
    this.end();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#release();
  }
}
