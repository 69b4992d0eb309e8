import type { InputFile } from '../input-file.js';

/**
 * Bytes per element, by safetensors' names. GPT-2's weights are F64, F32, F16 or BF16. Tensors of other types are
 * buffers and are never read.
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
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  C64: 8,
  C128: 16,
};

/** A tensor stored in a file. */
export interface WeightEntry {
  file: InputFile;
  /** A key of `elementBytes`. */
  dtype: string;
  shape: readonly number[];
  /** In elements. */
  strides: readonly number[];
  /** The offset in the file, in bytes. */
  offset: number;
  /** The bytes of all elements. */
  byteSize: number;
  /** The bytes in the file. Elements of a tensor that was expanded share them. */
  storedBytes: number;
}

/** A row-major tensor. */
export function rowMajorEntry(entry: Omit<WeightEntry, 'strides' | 'storedBytes'>): WeightEntry {
  const strides: number[] = [];
  let stride = 1;
  for (const extent of entry.shape.toReversed()) {
    strides.unshift(stride);
    stride *= extent;
  }
  return { ...entry, strides, storedBytes: entry.byteSize };
}
