/** The tokens of a stream's session, while the stream has its turn. */
export interface StreamTokens {
  /** Appends new tokens. The first call appends the prompt before them. */
  append(tokens: readonly number[]): void;
  /** Ends the turn. `droppedTokens`: those that sliding dropped, if the engine has finished and all are appended. */
  end(droppedTokens: number | undefined): void;
}

/** A stream's turn on its session. */
export class StreamTurn {
  readonly #tokens: StreamTokens;
  /** The new tokens so far, yielded or not. */
  readonly #generated: number[] = [];
  #appended = 0;
  #dropped: number | undefined;
  #isOver = false;

  constructor(tokens: StreamTokens) {
    this.#tokens = tokens;
  }

  /** Receives a new token. */
  generate(token: number): void {
    this.#generated.push(token);
  }

  /** Receives the end of the engine's work. `droppedTokens`: undefined if the session has other tokens. */
  complete(droppedTokens: number | undefined): void {
    this.append(0);
    this.#dropped = droppedTokens;
  }

  /** Appends the next `count` new tokens to the session. */
  append(count: number): void {
    if (this.#isOver) return;
    this.#tokens.append(this.#generated.slice(this.#appended, this.#appended + count));
    this.#appended = Math.min(this.#appended + count, this.#generated.length);
  }

  /** Appends all remaining tokens, yielded or not, and ends the turn. */
  finish(): void {
    this.append(this.#generated.length);
    this.end();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const hasAll = this.#appended === this.#generated.length;
    this.#tokens.end(hasAll ? this.#dropped : undefined);
  }
}
