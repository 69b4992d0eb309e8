import type { Gpt2Error } from '../errors.js';
import { note } from './output-options.js';

export type Failure = Pick<Gpt2Error, 'code' | 'message'>;

/** Counts the inputs of a command that fail by themselves, while the others go on. */
export class Failures {
  #count = 0;
  #first = '';

  get count(): number {
    return this.#count;
  }

  add(place: string, failure: Failure): void {
    this.#count++;
    const { message, code } = failure;
    const hasPlace = message.startsWith(`${place}: `); // as errors of the file system have
    this.#first ||= `${hasPlace ? '' : `${place}: `}${message} [${code}]`;
  }

  /** Notes how many of the inputs failed and sets the exit code, if any did. */
  report(done: number, inputs: string): void {
    if (this.#count === 0) return;
    const summary = `${this.#count} of ${done} ${inputs} failed. The first: `;
    note(`${done === 1 ? '' : summary}${this.#first}`);
    process.exitCode = 1;
  }
}
