/** A stream's turn on its session. Appends the stream's tokens to the session and ends the turn. */
export class StreamTurn {
  /** The new tokens so far, yielded or not. */
  readonly generated: number[] = [];
  readonly #sessionTokens: number[];
  readonly #prompt: Uint32Array;
  readonly #release: () => void;
  #hasPrompt = false;
  #appended = 0;
  #isOver = false;

  constructor(sessionTokens: number[], prompt: Uint32Array, release: () => void) {
    this.#sessionTokens = sessionTokens;
    this.#prompt = prompt;
    this.#release = release;
  }

  /** Appends the next `count` new tokens to the session. The first call appends the prompt before them. */
  append(count: number): void {
    if (this.#isOver) return;
    if (!this.#hasPrompt) for (const token of this.#prompt) this.#sessionTokens.push(token);
    this.#hasPrompt = true;
    const next = this.generated.slice(this.#appended, this.#appended + count);
    for (const token of next) this.#sessionTokens.push(token);
    this.#appended += next.length;
  }

  /** Appends all remaining tokens, yielded or not, and ends the turn. */
  finish(): void {
    this.append(this.generated.length - this.#appended);
    this.end();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#release();
  }
}
