import { ByteReader, MalformedBytes } from './byte-reader.js';

// A copy of 64 bytes takes three.
const largestGrowth = 22;

/**
 * Decompresses a block of Snappy: runs of bytes as they are, and copies of what came before.
 * Format: https://github.com/google/snappy/blob/main/format_description.txt
 */
export function decompressSnappy(block: Buffer, mostBytes: number): Buffer {
  const reader = new ByteReader(block);
  const length = reader.varint();
  if (length > Math.min(largestGrowth * block.length, mostBytes)) {
    throw new MalformedBytes(`${block.length} bytes of Snappy claim to be ${length}`);
  }
  const out = Buffer.alloc(length);
  let done = 0;
  while (!reader.isAtEnd) {
    const tag = reader.byte();
    const kind = tag & 3;
    if (kind === 0) {
      const run = reader.take(1 + runLength(reader, tag >> 2));
      if (done + run.length > length) throw new MalformedBytes('a run of Snappy is too long');
      run.copy(out, done);
      done += run.length;
      continue;
    }
    const size = kind === 1 ? 4 + ((tag >> 2) & 7) : 1 + (tag >> 2);
    const offset =
      kind === 1
        ? ((tag >> 5) << 8) | reader.byte()
        : reader.take(kind === 2 ? 2 : 4).readUIntLE(0, kind === 2 ? 2 : 4);
    if (offset < 1 || offset > done || done + size > length) {
      throw new MalformedBytes('a copy of Snappy reaches beyond what there is');
    }
    // Byte by byte: a copy may overlap what it makes.
    for (let i = 0; i < size; i++, done++) out[done] = out[done - offset] as number;
  }
  if (done !== length) throw new MalformedBytes(`a block of Snappy has ${done} bytes of ${length}`);
  return out;
}

/** The length of a run less one: in the tag, or in one to four bytes after it. */
function runLength(reader: ByteReader, inTag: number): number {
  if (inTag < 60) return inTag;
  const bytes = inTag - 59;
  return reader.take(bytes).readUIntLE(0, bytes);
}
