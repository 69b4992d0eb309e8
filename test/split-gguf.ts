// Splits GGUF files like llama.cpp's gguf-split: the first file has all metadata. Three more keys in each file give its
// index, the number of files, and the total number of tensors.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type GgufTensor, readGguf } from './gguf-reader.js';

const alignment = 32;

function uint(bytes: 2 | 4 | 8, value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer.subarray(0, bytes);
}

function string(text: string): Buffer {
  return Buffer.concat([uint(8, Buffer.byteLength(text)), Buffer.from(text)]);
}

function padded(bytes: Buffer): Buffer {
  const size = Math.ceil(bytes.length / alignment) * alignment;
  return Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]);
}

function encode(
  metadata: Buffer[],
  metadataCount: number,
  tensors: readonly [name: string, tensor: GgufTensor][],
): Buffer {
  const infos: Buffer[] = [];
  let offset = 0;
  for (const [name, { type, shape, bytes }] of tensors) {
    const extents = shape.map((extent) => uint(8, extent));
    infos.push(string(name), uint(4, shape.length), ...extents, uint(4, type), uint(8, offset));
    offset += padded(bytes).length;
  }
  const start = [Buffer.from('GGUF'), uint(4, 3), uint(8, tensors.length), uint(8, metadataCount)];
  const header = padded(Buffer.concat([...start, ...metadata, ...infos]));
  return Buffer.concat([header, ...tensors.map(([, { bytes }]) => padded(bytes))]);
}

/**
 * Writes the parts of a GGUF file into a folder and returns their paths.
 *
 * @param firstIsEmpty puts no tensors into the first part, like gguf-split's --no-tensor-first-split
 */
export function splitGguf(
  path: string,
  folder: string,
  count: number,
  firstIsEmpty = false,
): string[] {
  const whole = readGguf(path);
  const tensors = [...whole.tensors];
  const holders = firstIsEmpty ? count - 1 : count;
  return Array.from({ length: count }, (_, number) => {
    const holder = firstIsEmpty ? number - 1 : number;
    const held = tensors.filter((_, i) => Math.floor((i * holders) / tensors.length) === holder);
    const uint16Type = uint(4, 2);
    const int32Type = uint(4, 5);
    const keys = [
      ...[string('split.no'), uint16Type, uint(2, number)],
      ...[string('split.count'), uint16Type, uint(2, count)],
      ...[string('split.tensors.count'), int32Type, uint(4, tensors.length)],
    ];
    const isFirst = number === 0;
    const bytes = encode(
      isFirst ? [whole.metadataBytes, ...keys] : keys,
      isFirst ? whole.metadata.size + 3 : 3,
      held,
    );
    const digits = (value: number) => String(value).padStart(5, '0');
    const part = join(folder, `model-${digits(number + 1)}-of-${digits(count)}.gguf`);
    writeFileSync(part, bytes);
    return part;
  });
}
