import { allocate } from './allocation.js';
import { invalidArgument } from './arguments.js';

/** The positions whose logits a call returns: the last, all, or indices into the tokens of the call, in any order. */
export type Positions = 'last' | 'all' | readonly number[];

export interface Logits {
  /** Row by row. It belongs to the caller. */
  data: Float32Array;
  /** Row i holds the logits of the token that follows the i-th selected position. */
  shape: [positions: number, vocabSize: number];
  /** The evaluated tokens. */
  tokens: Uint32Array;
}

/** Checks positions for at most `count` tokens. A list is copied. */
export function checkPositions(positions: Positions | undefined, count: number): Positions {
  if (positions === undefined) return 'last';
  if (positions === 'last' || positions === 'all') return positions;
  return Array.from(positionIndices(positions, count));
}

/** The indices that `positions` selects among `count` tokens. */
export function positionIndices(positions: Positions, count: number): Uint32Array {
  if (positions === 'last') return Uint32Array.of(count - 1);
  if (positions === 'all') return Uint32Array.from({ length: count }, (_, index) => index);
  if (!Array.isArray(positions)) {
    throw invalidArgument(`positions to be 'last', 'all' or an array of indices`, positions);
  }
  for (const position of positions) {
    if (!Number.isInteger(position) || position < 0 || position >= count) {
      throw invalidArgument(`positions to be whole numbers from 0 to ${count - 1}`, position);
    }
  }
  return Uint32Array.from(positions);
}

/**
 * Allocates logits, shape [positions, vocabSize].
 *
 * @throws OUT_OF_MEMORY
 */
export function allocateLogits(positions: number, vocabSize: number): Float32Array {
  const purpose = `logits of the shape [${positions}, ${vocabSize}]`;
  return allocate(purpose, () => new Float32Array(positions * vocabSize));
}
