/**
 * Limits what is under way at the same time: each piece of work has a size, and begins when it and those before it are
 * together within the limit, or when it is alone. Work begins in the order in which it was added.
 */
export class InFlight {
  readonly #limit: number;
  readonly #waiting: { size: number; begin: () => void }[] = [];
  #size = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs work when there is room for it. */
  async run<T>(size: number, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((begin) => {
      this.#waiting.push({ size, begin });
      this.#next();
    });
    try {
      return await work();
    } finally {
      this.#size -= size;
      this.#next();
    }
  }

  #next(): void {
    while (true) {
      const [first] = this.#waiting;
      if (!first || (this.#size > 0 && this.#size + first.size > this.#limit)) return;
      this.#waiting.shift();
      this.#size += first.size;
      first.begin();
    }
  }
}
