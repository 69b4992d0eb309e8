import { allocate } from '../allocation.js';

/**
 * Runs a function that allocates typed arrays for a text.
 *
 * @throws OUT_OF_MEMORY
 */
export function allocateForText<T>(create: () => T): T {
  return allocate('the tokens of the text', create);
}

/** A list of integers that grows. */
export class GrowingArray<T extends Int32Array | Uint32Array> {
  length = 0;
  #values: T;
  readonly #create: (length: number) => T;

  constructor(create: (length: number) => T) {
    this.#create = create;
    this.#values = create(1024);
  }

  push(value: number): void {
    if (this.length === this.#values.length) this.#grow();
    this.#values[this.length++] = value;
  }

  #grow(): void {
    const larger = allocateForText(() => this.#create(this.#values.length * 2));
    larger.set(this.#values);
    this.#values = larger;
  }

  /** The values, which the next push may change. */
  view(): T {
    return this.#values.subarray(0, this.length) as T;
  }
}
