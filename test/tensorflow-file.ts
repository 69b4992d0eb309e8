// Writes TensorFlow checkpoints, independently of the library's reader. Formats:
// https://github.com/google/leveldb/blob/main/doc/table_format.md and
// https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto

import { writeFileSync } from 'node:fs';
import type { StoredTensor } from './safetensors-file.js';

const dtypes: Record<string, number> = { F32: 1, F64: 2, I64: 9, BF16: 14, F16: 19 };

function varint(number: number): Buffer {
  const bytes: number[] = [];
  for (let rest = BigInt(number); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 127n) | 128);
  }
}

function numberField(field: number, value: number): Buffer {
  return Buffer.concat([varint(8 * field), varint(value)]);
}

function bytesField(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint(8 * field + 2), varint(bytes.length), bytes]);
}

function uint32(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(number);
  return bytes;
}

type Entry = readonly [key: string, value: Buffer];

/** A block of entries. Keys omit the prefix that they share with the key before, except for every 16th. */
function block(entries: readonly Entry[]): Buffer {
  const parts: Buffer[] = [];
  const restarts: number[] = [];
  let length = 0;
  let before = Buffer.alloc(0);
  for (const [index, [text, value]] of entries.entries()) {
    const key = Buffer.from(text);
    let shared = 0;
    if (index % 16 === 0) restarts.push(length);
    else while (shared < before.length && before[shared] === key[shared]) shared++;
    const rest = key.subarray(shared);
    const entry = [varint(shared), varint(rest.length), varint(value.length), rest, value];
    for (const part of entry) {
      parts.push(part);
      length += part.length;
    }
    before = key;
  }
  return Buffer.concat([...parts, ...restarts.map(uint32), uint32(restarts.length)]);
}

/** A sorted table with this many entries per block. */
export function sortedTable(entries: readonly Entry[], entriesPerBlock: number): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  const add = (contents: Buffer): Buffer => {
    const handle = Buffer.concat([varint(length), varint(contents.length)]);
    // Not compressed, and without a checksum, which is not verified.
    parts.push(contents, Buffer.alloc(5));
    length += contents.length + 5;
    return handle;
  };
  const index: Entry[] = [];
  for (let start = 0; start < entries.length; start += entriesPerBlock) {
    const some = entries.slice(start, start + entriesPerBlock);
    index.push([some.at(-1)?.[0] ?? '', add(block(some))]);
  }
  const footer = Buffer.alloc(48);
  Buffer.concat([add(block([])), add(block(index))]).copy(footer);
  footer.set(Buffer.from('57fb808b247547db', 'hex'), 40);
  return Buffer.concat([...parts, footer]);
}

/** Writes `<prefix>.index` and its data files, with the tensors distributed in turn. */
export function writeTensorflow(
  prefix: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  { shards = 1, entriesPerBlock = 8 } = {},
): void {
  const data: Buffer[][] = Array.from({ length: shards }, () => []);
  const lengths: number[] = new Array(shards).fill(0);
  const header = Buffer.concat([
    numberField(1, shards),
    bytesField(3, numberField(1, 1)), // the version
  ]);
  const entries: Entry[] = [['', header]];
  for (const [index, [name, { dtype, shape, bytes }]] of [...tensors]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .entries()) {
    const shard = index % shards;
    const dimensions = shape.map((size) => bytesField(2, numberField(1, size)));
    const fields = [
      numberField(1, dtypes[dtype] as number),
      bytesField(2, Buffer.concat(dimensions)),
      numberField(3, shard),
      numberField(4, lengths[shard] as number),
      numberField(5, bytes.length),
      Buffer.concat([varint(8 * 6 + 5), uint32(0)]), // the checksum
    ];
    entries.push([name, Buffer.concat(fields)]);
    data[shard]?.push(bytes);
    lengths[shard] = (lengths[shard] as number) + bytes.length;
  }
  writeFileSync(`${prefix}.index`, sortedTable(entries, entriesPerBlock));
  const total = String(shards).padStart(5, '0');
  for (const [shard, parts] of data.entries()) {
    const name = `${prefix}.data-${String(shard).padStart(5, '0')}-of-${total}`;
    writeFileSync(name, Buffer.concat(parts));
  }
}

/** Converts a Hugging Face tensor name to that of OpenAI's release. */
export function tensorflowName(name: string): string {
  const path = name
    .replace(/^transformer\./, '')
    .replace(/^h\.(\d+)\./, 'h$1/')
    .replaceAll('.', '/')
    .replace(/^(wte|wpe)\/weight$/, '$1')
    .replace(/(ln_\w)\/weight$/, '$1/g')
    .replace(/\/weight$/, '/w')
    .replace(/\/bias$/, '/b');
  return `model/${path}`;
}
