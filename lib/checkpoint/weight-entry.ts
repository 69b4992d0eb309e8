import type { InputFile } from '../input-file.js';

/**
 * Bytes per element, by safetensors' names of the types. GPT-2's weights are F32, F16 or BF16. Elements of other types are
 * never read.
 */
export const elementBytes: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** A tensor stored in a file. */
export interface WeightEntry {
  file: InputFile;
  /** A key of `elementBytes`. */
  dtype: string;
  shape: readonly number[];
  /** The offset in the file, in bytes. */
  offset: number;
  byteSize: number;
  /** Row-major, column-major (matrices only), or neither. */
  order: 'rows' | 'columns' | 'other';
}
