import { ByteReader, MalformedBytes } from './byte-reader.js';

// The most compact element is a copy: three bytes stand for 64.
const maxGrowth = 22;

/**
 * Decompresses a Snappy block: literals, and copies of earlier output.
 * Format: https://github.com/google/snappy/blob/main/format_description.txt
 */
export function decompressSnappy(block: Buffer, maxBytes: number): Buffer {
  const reader = new ByteReader(block);
  const length = reader.varint();
  if (length > Math.min(maxGrowth * block.length, maxBytes)) {
    throw new MalformedBytes(
      `a Snappy block of ${block.length} bytes claims to decompress to ${length}`,
    );
  }
  const out = Buffer.alloc(length);
  let done = 0;
  while (!reader.isAtEnd) {
    const tag = reader.byte();
    const kind = tag & 3;
    if (kind === 0) {
      const run = reader.take(1 + runLength(reader, tag >> 2));
      if (done + run.length > length) throw new MalformedBytes('a Snappy literal is too long');
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
      throw new MalformedBytes('a Snappy copy reaches outside the output');
    }
    // Byte by byte, since a copy may overlap its own output.
    for (let i = 0; i < size; i++, done++) out[done] = out[done - offset] as number;
  }
  if (done !== length)
    throw new MalformedBytes(`a Snappy block decompresses to ${done} bytes instead of ${length}`);
  return out;
}

/** The length of a literal minus one, from the tag or from the one to four bytes after it. */
function runLength(reader: ByteReader, inTag: number): number {
  if (inTag < 60) return inTag;
  const bytes = inTag - 59;
  return reader.take(bytes).readUIntLE(0, bytes);
}
