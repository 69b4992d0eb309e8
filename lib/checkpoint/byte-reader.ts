/** Bytes are missing or malformed. */
export class MalformedBytes extends Error {}

/** Reads numbers from a buffer in sequence, never beyond its end. */
export class ByteReader {
  readonly bytes: Buffer;
  /** Offset of the next byte. */
  position: number;
  readonly #end: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.position = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.position >= this.#end;
  }

  take(length: number): Buffer {
    if (!(length >= 0 && this.position + length <= this.#end)) {
      throw new MalformedBytes(
        `${length} bytes are expected at ${this.position}, but the data ends at ${this.#end}`,
      );
    }
    this.position += length;
    return this.bytes.subarray(this.position - length, this.position);
  }

  byte(): number {
    return this.take(1)[0] as number;
  }

  uint32(): number {
    return this.take(4).readUInt32LE();
  }

  /** Seven bits per byte, lowest first; at most 2^53, which no size exceeds. */
  varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 64; factor *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw new MalformedBytes(`the number before ${this.position} is too large`);
  }
}
