import type { InputFile } from '../input-file.js';

/** Bytes of an element, by safetensors' names. GPT-2's weights are F32, F16 or BF16; others are not read. */
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

/** A tensor that lies in a file as it is. */
export interface WeightEntry {
  file: InputFile;
  dtype: string;
  shape: readonly number[];
  /** in the file */
  offset: number;
  byteSize: number;
  /** how its numbers lie: row after row; of a matrix, column after column; or in another way */
  order: 'rows' | 'columns' | 'other';
}
