import { basename, dirname, join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { InputFile } from '../input-file.js';
import { ByteReader, MalformedBytes } from './byte-reader.js';
import { protobufFields } from './protobuf.js';
import { readSortedTable } from './sorted-table.js';
import { elementBytes, rowMajorEntry, type WeightEntry } from './weight-entry.js';

// tensorflow/core/framework/types.proto
const dtypes: Readonly<Record<number, string>> = {
  1: 'F32',
  2: 'F64',
  3: 'I32',
  9: 'I64',
  14: 'BF16',
  19: 'F16',
};

// The index of a GPT-2 of 48 layers has 30 kB.
const maxIndexBytes = 4_000_000;

interface BundleEntry {
  dtype: number;
  shape: number[];
  shard: number;
  offset: number;
  size: number;
}

/**
 * Reads the tensors of a TensorFlow checkpoint: an index, which is a sorted table of protobuf messages, and data files
 * (tensorflow/core/protobuf/tensor_bundle.proto). The files it opens are added to `files`.
 */
export async function readTensorflow(
  indexPath: string,
  files: InputFile[],
  signal: AbortSignal | undefined,
): Promise<Map<string, WeightEntry>> {
  const index = await InputFile.open(indexPath, signal);
  files.push(index);
  if (index.size > maxIndexBytes) {
    throw index.invalid(
      `expected an index of at most ${maxIndexBytes} bytes but found ${index.size}`,
    );
  }
  const bytes = await index.read(0, index.size);
  const { shards, bundle } = parseIndex(index, bytes);
  const prefix = indexPath.slice(0, -'.index'.length);
  const data: InputFile[] = [];
  const total = String(shards).padStart(5, '0');
  for (let shard = 0; shard < shards; shard++) {
    const name = `${basename(prefix)}.data-${String(shard).padStart(5, '0')}-of-${total}`;
    const file = await InputFile.open(join(dirname(indexPath), name), signal);
    files.push(file);
    data.push(file);
  }
  const entries = new Map<string, WeightEntry>();
  for (const [name, { dtype, shape, shard, offset, size }] of bundle) {
    const file = data[shard];
    const type = dtypes[dtype];
    if (type === undefined) continue; // strings and the like, which are not weights
    const byteSize = shape.reduce((product, extent) => product * extent, elementBytes[type] ?? 0);
    if (!file || byteSize !== size || offset + size > file.size) {
      throw index.invalid(
        `the tensor "${name}" of type ${type} and shape [${shape.join(', ')}] does not fit its ${size} bytes at offset ${offset} of data file ${shard}`,
      );
    }
    entries.set(name, rowMajorEntry({ file, dtype: type, shape, offset, byteSize }));
  }
  return entries;
}

const maxShards = 1000;

function parseIndex(
  index: InputFile,
  bytes: Buffer,
): { shards: number; bundle: Map<string, BundleEntry> } {
  try {
    const bundle = new Map<string, BundleEntry>();
    let shards = 0;
    for (const [key, value] of readSortedTable(bytes)) {
      if (key === '') shards = readHeader(index, value);
      else bundle.set(key, readEntry(value));
    }
    if (shards < 1 || shards > maxShards) {
      throw new MalformedBytes(`it claims to have ${shards} data files`);
    }
    return { shards, bundle };
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw index.invalid(`it is not the index of a TensorFlow checkpoint: ${error.message}`, error);
  }
}

function readHeader(index: InputFile, message: Buffer): number {
  let shards = 0;
  for (const { number, value = 0 } of protobufFields(new ByteReader(message))) {
    if (number === 1) shards = value;
    if (number === 2 && value !== 0) {
      throw new Gpt2Error('UNSUPPORTED_MODEL', `${index.path}: its numbers are big-endian`);
    }
  }
  return shards;
}

function readEntry(message: Buffer): BundleEntry {
  const entry: BundleEntry = { dtype: 0, shape: [], shard: 0, offset: 0, size: 0 };
  for (const { number, value = 0, bytes } of protobufFields(new ByteReader(message))) {
    if (number === 1) entry.dtype = value;
    if (number === 2 && bytes) entry.shape = readShape(bytes);
    if (number === 3) entry.shard = value;
    if (number === 4) entry.offset = value;
    if (number === 5) entry.size = value;
  }
  return entry;
}

const maxDimensions = 8;

function readShape(message: Buffer): number[] {
  const shape: number[] = [];
  for (const { number, bytes } of protobufFields(new ByteReader(message))) {
    if (number !== 2 || !bytes) continue;
    let size = 0;
    for (const field of protobufFields(new ByteReader(bytes))) {
      if (field.number === 1) size = field.value ?? 0;
    }
    shape.push(size);
    if (shape.length > maxDimensions) {
      throw new MalformedBytes(`a tensor has more than ${maxDimensions} dimensions`);
    }
  }
  return shape;
}
