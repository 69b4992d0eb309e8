import { type ByteReader, MalformedBytes } from './byte-reader.js';

/** A field of a message: an integer or bytes. */
export type ProtobufField =
  | { number: number; value: number; bytes?: undefined }
  | { number: number; value?: undefined; bytes: Buffer };

/**
 * Yields the fields of a protobuf message.
 * Format: https://protobuf.dev/programming-guides/encoding/
 */
export function* protobufFields(reader: ByteReader): Generator<ProtobufField> {
  while (!reader.isAtEnd) {
    const tag = reader.varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        yield { number, value: reader.varint() };
        break;
      case 1:
        yield { number, bytes: reader.take(8) };
        break;
      case 2:
        yield { number, bytes: reader.take(reader.varint()) };
        break;
      case 5:
        yield { number, value: reader.uint32() };
        break;
      default:
        throw new MalformedBytes(`a field has the unknown wire type ${tag % 8}`);
    }
  }
}
