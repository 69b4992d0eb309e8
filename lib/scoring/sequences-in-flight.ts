import { InFlight } from '../in-flight.js';

// Two passes' worth: enough for full passes, and little memory for keys and values.
const maxTokens = 512;

// Keys and values come in blocks of 64 positions, so short sequences take more memory for each token. More of them at a
// time would also take new blocks, whose page faults cost as much as fuller passes save: ranking 100 candidates of 5 tokens
// (124M, q8_0) took 251 MB and 490 ms, and takes 62 MB and 410 ms; in f32, 970 and 1,020 ms.
const leastSize = 32;

/** Limits the sequences of a call that are evaluated at the same time, by their tokens. */
export class SequencesInFlight extends InFlight {
  constructor() {
    super(maxTokens);
  }

  override run<T>(tokenCount: number, evaluate: () => Promise<T>): Promise<T> {
    return super.run(Math.max(tokenCount, leastSize), evaluate);
  }
}
