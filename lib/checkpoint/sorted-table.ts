import { ByteReader, MalformedBytes } from './byte-reader.js';
import { decompressSnappy } from './snappy.js';

const footerSize = 48;
const magic = Buffer.from('57fb808b247547db', 'hex');
const trailerSize = 5; // the compression type and a checksum
const uncompressed = 0;
const snappy = 1;
// The table of a GPT-2 of 48 layers has 600 entries in less than 100 kB.
const maxEntries = 10_000;
const maxBytes = 2_000_000;
const maxKeyLength = 1000;

/**
 * Reads the entries of a sorted table in LevelDB's format, in order.
 * Format: https://github.com/google/leveldb/blob/main/doc/table_format.md
 */
export function readSortedTable(table: Buffer): [key: string, value: Buffer][] {
  if (table.length < footerSize || !table.subarray(-magic.length).equals(magic)) {
    throw new MalformedBytes('it does not end with the footer of a sorted table');
  }
  const footer = new ByteReader(table, table.length - footerSize);
  readHandle(footer); // of the metaindex block, which is not needed
  const index = readEntries(readBlock(table, readHandle(footer), maxBytes), maxEntries);
  const entries: [string, Buffer][] = [];
  let bytes = 0;
  for (const [, handle] of index) {
    const block = readBlock(table, readHandle(new ByteReader(handle)), maxBytes - bytes);
    bytes += block.length;
    if (bytes > maxBytes) throw new MalformedBytes(`its blocks hold more than ${maxBytes} bytes`);
    for (const entry of readEntries(block, maxEntries - entries.length)) entries.push(entry);
  }
  return entries;
}

interface Handle {
  offset: number;
  size: number;
}

function readHandle(reader: ByteReader): Handle {
  return { offset: reader.varint(), size: reader.varint() };
}

function readBlock(table: Buffer, { offset, size }: Handle, bytesLeft: number): Buffer {
  const reader = new ByteReader(table);
  reader.position = offset;
  const contents = reader.take(size);
  const compression = reader.take(trailerSize)[0];
  if (compression === uncompressed) return contents;
  if (compression === snappy) return decompressSnappy(contents, bytesLeft);
  throw new MalformedBytes(`a block has the unknown compression type ${compression}`);
}

/**
 * Reads the entries of a block. A key omits the prefix that it shares with the key before; the block ends with the
 * offsets of the keys that are stored whole (the restarts) and their count.
 */
function readEntries(block: Buffer, limit: number): [string, Buffer][] {
  const restarts = block.length < 4 ? 0 : block.readUInt32LE(block.length - 4);
  const end = block.length - 4 - 4 * restarts;
  if (end < 0) throw new MalformedBytes('a block is shorter than its list of restarts');
  const reader = new ByteReader(block, 0, end);
  const entries: [string, Buffer][] = [];
  let key = Buffer.alloc(0);
  while (!reader.isAtEnd) {
    const [shared, unshared, valueSize] = [reader.varint(), reader.varint(), reader.varint()];
    if (shared + unshared > maxKeyLength) throw new MalformedBytes('a key is too long');
    if (shared > key.length)
      throw new MalformedBytes('a key shares more bytes than the key before it has');
    key = Buffer.concat([key.subarray(0, shared), reader.take(unshared)]);
    if (entries.length >= limit) throw new MalformedBytes(`it has more than ${maxEntries} entries`);
    entries.push([key.toString('utf8'), reader.take(valueSize)]);
  }
  return entries;
}
