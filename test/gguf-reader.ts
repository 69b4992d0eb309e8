// Reads GGUF files, independently of the library's reader and writer.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

import { readFileSync } from 'node:fs';
import { numbersOf } from './safetensors-file.js';

export interface GgufTensor {
  /** The number of the type in ggml. */
  type: number;
  /** In ggml's order: the contiguous dimension first. */
  shape: number[];
  /** From the start of the data. */
  offset: number;
  bytes: Buffer;
}

export interface GgufFile {
  version: number;
  metadata: Map<string, unknown>;
  /** The encoded metadata. */
  metadataBytes: Buffer;
  tensors: Map<string, GgufTensor>;
  /** The offset of the data in the file. */
  dataStart: number;
}

const alignment = 32;

export function readGguf(path: string): GgufFile {
  const file = readFileSync(path);
  let at = 0;
  const take = (count: number) => {
    at += count;
    return at - count;
  };
  const uint32 = () => file.readUInt32LE(take(4));
  const uint64 = () => Number(file.readBigUInt64LE(take(8)));
  const string = () => {
    const length = uint64();
    return file.toString('utf8', take(length), at);
  };
  const value = (type: number): unknown => {
    if (type === 4) return uint32();
    if (type === 5) return file.readInt32LE(take(4));
    if (type === 6) return file.readFloatLE(take(4));
    if (type === 8) return string();
    if (type === 9) {
      const element = uint32();
      return Array.from({ length: uint64() }, () => value(element));
    }
    if (type === 7) return file[at++] !== 0;
    throw new Error(`no reader for values of type ${type}`);
  };

  if (file.toString('latin1', 0, take(4) + 4) !== 'GGUF') throw new Error('no GGUF file');
  const version = uint32();
  const tensorCount = uint64();
  const metadataCount = uint64();
  const metadata = new Map<string, unknown>();
  const metadataStart = at;
  for (let i = 0; i < metadataCount; i++) metadata.set(string(), value(uint32()));
  const metadataBytes = file.subarray(metadataStart, at);

  const described = Array.from({ length: tensorCount }, () => ({
    name: string(),
    shape: Array.from({ length: uint32() }, uint64),
    type: uint32(),
    offset: uint64(),
  }));
  const dataStart = Math.ceil(at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const { name, shape, type, offset } of described) {
    const count = shape.reduce((product, extent) => product * extent, 1);
    const start = dataStart + offset;
    tensors.set(name, {
      type,
      shape,
      offset,
      bytes: file.subarray(start, start + byteSize(type, count)),
    });
  }
  return { version, metadata, metadataBytes, tensors, dataStart };
}

/** Safetensors' names of the unquantised types, by ggml's numbers. */
export const plainTypes: Record<number, string> = { 0: 'F32', 1: 'F16', 30: 'BF16' };

/** Decodes a tensor's elements. A q8_0 block is an f16 scale and 32 signed bytes. */
export function ggufNumbers({ type, bytes }: GgufTensor): number[] {
  const dtype = plainTypes[type];
  if (dtype) return numbersOf({ dtype, bytes });
  if (type !== 8) throw new Error(`no reader for tensors of type ${type}`);
  const numbers: number[] = [];
  for (let block = 0; block < bytes.length; block += 34) {
    const [scale] = numbersOf({ dtype: 'F16', bytes: bytes.subarray(block, block + 2) });
    for (let i = 2; i < 34; i++) numbers.push((scale as number) * bytes.readInt8(block + i));
  }
  return numbers;
}

function byteSize(type: number, count: number): number {
  if (type === 0) return 4 * count;
  if (type === 1 || type === 30) return 2 * count;
  if (type === 8) return (count / 32) * 34;
  const bytesOf256 = { 12: 144, 13: 176, 14: 210 }[type]; // k-quants
  if (bytesOf256) return (count / 256) * bytesOf256;
  throw new Error(`no size for tensors of type ${type}`);
}
