import { addon } from '../native/addon.js';
import type { TensorType } from '../native/types.js';

/**
 * The type of a model's weights: one type for all matrices, either plain numbers of 32 or 16 bits or one of
 * ggml's block formats of about 8, 6, 5 and 4 bits; or a mixture of k-quants (`q5_k_m`, `q4_k_m`) that keeps the
 * most sensitive matrices in finer types.
 */
export type WeightType = (typeof weightTypes)[number];

export const weightTypes = [
  'f32',
  'f16',
  'bf16',
  'q8_0',
  'q6_k',
  'q5_k',
  'q5_1',
  'q5_0',
  'q4_k',
  'q4_1',
  'q4_0',
  'q5_k_m',
  'q4_k_m',
] as const satisfies readonly (TensorType | 'q5_k_m' | 'q4_k_m')[];

/** The values of `general.file_type` (llama.cpp's numbers). */
export const fileTypeNumbers: Record<WeightType, number> = {
  f32: 0,
  f16: 1,
  bf16: 32,
  q8_0: 7,
  q6_k: 18,
  q5_k: 16,
  q5_1: 9,
  q5_0: 8,
  q4_k: 14,
  q4_1: 3,
  q4_0: 2,
  q5_k_m: 17,
  q4_k_m: 15,
};

/** The numbers of the types in GGUF and ggml. */
export const ggmlTypeNumbers: Record<TensorType, number> = {
  f32: 0,
  f16: 1,
  bf16: 30,
  q8_0: 8,
  q6_k: 14,
  q5_k: 13,
  q5_1: 7,
  q5_0: 6,
  q4_k: 12,
  q4_1: 3,
  q4_0: 2,
};

export function isQuantized(type: WeightType): boolean {
  return type.startsWith('q');
}

/** The number of bytes of `rows` rows of `rowLength` elements each. */
export function byteSize(type: TensorType, rowLength: number, rows: number): number {
  const [elements, bytes] = addon().blockSize(type);
  return (rowLength / elements) * bytes * rows;
}

/**
 * Returns `type` if rows of this length consist of whole blocks, otherwise the next type that fits. K-quants have
 * blocks of 256 elements, the other quantised types of 32.
 */
export function fittingType(type: TensorType, rowLength: number): TensorType {
  const fallback: Partial<Record<TensorType, TensorType>> = {
    q6_k: 'q8_0',
    q5_k: 'q5_0',
    q4_k: 'q4_0',
  };
  for (const candidate of [type, fallback[type]]) {
    if (candidate && rowLength % addon().blockSize(candidate)[0] === 0) return candidate;
  }
  return 'f16';
}
