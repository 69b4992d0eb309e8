// Reads and writes safetensors files, independently of the library's reader.
// Format: https://github.com/huggingface/safetensors#format

import { readFileSync, writeFileSync } from 'node:fs';

export interface StoredTensor {
  dtype: string;
  shape: number[];
  bytes: Buffer;
}

export function readSafetensors(path: string): Map<string, StoredTensor> {
  const file = readFileSync(path);
  const headerLength = Number(file.readBigUInt64LE(0));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> =
    JSON.parse(file.toString('utf8', 8, 8 + headerLength));
  const data = file.subarray(8 + headerLength);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    tensors.set(name, { dtype, shape, bytes: data.subarray(...data_offsets) });
  }
  return tensors;
}

export function writeSafetensors(path: string, tensors: ReadonlyMap<string, StoredTensor>): void {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = {
      dtype,
      shape,
      data_offsets: [offset, offset + bytes.length],
    };
    offset += bytes.length;
  }
  writeRawSafetensors(
    path,
    JSON.stringify(header),
    Buffer.concat([...tensors.values()].map(({ bytes }) => bytes)),
  );
}

/** Writes a file with this header, valid or not. */
export function writeRawSafetensors(
  path: string,
  header: string,
  data: Buffer,
  claimedLength = BigInt(Buffer.byteLength(header)),
): void {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimedLength);
  writeFileSync(path, Buffer.concat([length, Buffer.from(header), data]));
}

/** Decodes a tensor's elements. Exact, since every type fits into a double. */
export function numbersOf({ dtype, bytes }: Pick<StoredTensor, 'dtype' | 'bytes'>): number[] {
  const numbers: number[] = [];
  switch (dtype) {
    case 'F64':
      for (let at = 0; at < bytes.length; at += 8) numbers.push(bytes.readDoubleLE(at));
      return numbers;
    case 'F32':
      for (let at = 0; at < bytes.length; at += 4) numbers.push(bytes.readFloatLE(at));
      return numbers;
    case 'F16':
      for (let at = 0; at < bytes.length; at += 2) numbers.push(halfFloat(bytes.readUInt16LE(at)));
      return numbers;
    case 'BF16':
      // bfloat16 is the upper half of float32.
      for (let at = 0; at < bytes.length; at += 2) numbers.push(brainFloat(bytes.readUInt16LE(at)));
      return numbers;
    case 'I32':
      for (let at = 0; at < bytes.length; at += 4) numbers.push(bytes.readInt32LE(at));
      return numbers;
    default:
      throw new Error(`no reader for ${dtype}`);
  }
}

function brainFloat(bits: number): number {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt16LE(bits, 2);
  return buffer.readFloatLE();
}

// IEEE 754 binary16: one sign bit, five of exponent with bias 15, ten of fraction.
function halfFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
