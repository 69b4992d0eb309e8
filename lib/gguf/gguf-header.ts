import { forEachInTurns } from '../event-loop.js';
import type { TensorType } from '../native/types.js';
import { byteSize, ggmlTypeNumbers } from './tensor-types.js';

// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
const formatVersion = 3;
const alignment = 32;
const valueTypes = {
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
} as const;

export type GgufValue =
  | { type: 'uint32' | 'float32'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'int32s'; value: ArrayLike<number> };

export interface GgufTensor {
  name: string;
  type: TensorType;
  /** ggml's order: the contiguous dimension first */
  shape: readonly number[];
}

/** The encoded keys and values of a GGUF file. */
export interface EncodedMetadata {
  count: number;
  bytes: Uint8Array;
}

/** Encodes metadata. A vocabulary takes tens of milliseconds, so the event loop gets turns in between. */
export async function encodeMetadata(
  metadata: ReadonlyMap<string, GgufValue>,
): Promise<EncodedMetadata> {
  const bytes = new ByteList();
  for (const [key, value] of metadata) {
    bytes.string(key);
    await writeValue(bytes, value);
  }
  return { count: metadata.size, bytes: bytes.toBytes() };
}

/** Encodes a GGUF file up to the first tensor. The tensors follow in the same order, each padded to 32 bytes. */
export function ggufHeader(metadata: EncodedMetadata, tensors: readonly GgufTensor[]): Uint8Array {
  const bytes = new ByteList();
  bytes.text('GGUF');
  bytes.uint32(formatVersion);
  bytes.uint64(tensors.length);
  bytes.uint64(metadata.count);
  bytes.all(metadata.bytes);
  let offset = 0;
  for (const { name, type, shape } of tensors) {
    bytes.string(name);
    bytes.uint32(shape.length);
    for (const extent of shape) bytes.uint64(extent);
    bytes.uint32(ggmlTypeNumbers[type]);
    bytes.uint64(offset);
    const [rowLength = 1, rows = 1] = shape;
    offset += paddedSize(byteSize(type, rowLength, rows));
  }
  bytes.zeros(paddedSize(bytes.length) - bytes.length);
  return bytes.toBytes();
}

function paddedSize(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}

async function writeValue(bytes: ByteList, { type, value }: GgufValue): Promise<void> {
  switch (type) {
    case 'uint32':
      bytes.uint32(valueTypes.uint32);
      bytes.uint32(value);
      break;
    case 'float32':
      bytes.uint32(valueTypes.float32);
      bytes.float32(value);
      break;
    case 'bool':
      bytes.uint32(valueTypes.bool);
      bytes.all(Uint8Array.of(Number(value)));
      break;
    case 'string':
      bytes.uint32(valueTypes.string);
      bytes.string(value);
      break;
    case 'strings':
      bytes.uint32(valueTypes.array);
      bytes.uint32(valueTypes.string);
      bytes.uint64(value.length);
      await forEachInTurns(value, (text) => bytes.string(text));
      break;
    case 'int32s':
      bytes.uint32(valueTypes.array);
      bytes.uint32(valueTypes.int32);
      bytes.uint64(value.length);
      await forEachInTurns(Array.from(value), (number) => bytes.int32(number));
  }
}

class ByteList {
  #bytes = Buffer.alloc(1 << 20);
  length = 0;

  uint32(value: number): void {
    const at = this.#claim(4);
    this.#bytes.writeUInt32LE(value, at);
  }
  int32(value: number): void {
    const at = this.#claim(4);
    this.#bytes.writeInt32LE(value, at);
  }
  uint64(value: number): void {
    this.uint32(value % 2 ** 32);
    this.uint32(Math.floor(value / 2 ** 32));
  }
  float32(value: number): void {
    const at = this.#claim(4);
    this.#bytes.writeFloatLE(value, at);
  }
  all(bytes: Uint8Array): void {
    const at = this.#claim(bytes.length);
    this.#bytes.set(bytes, at);
  }
  text(value: string): void {
    const at = this.#claim(3 * value.length); // at most, in UTF-8
    this.length = at + this.#bytes.write(value, at);
  }
  string(value: string): void {
    const start = this.length;
    this.uint64(0);
    this.text(value);
    this.#bytes.writeUInt32LE(this.length - start - 8, start);
  }
  zeros(count: number): void {
    const at = this.#claim(count);
    this.#bytes.fill(0, at, at + count);
  }
  toBytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  /** Reserves the next `count` bytes and returns their offset. This may replace the buffer. */
  #claim(count: number): number {
    const start = this.length;
    this.length += count;
    if (this.length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.length, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return start;
  }
}
