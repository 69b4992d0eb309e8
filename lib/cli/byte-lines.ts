// The lines of files as bytes, read as they are asked for.

import { createReadStream } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { fileError } from '../files.js';

/** A line of a file, without its line break. */
export interface ByteLine {
  /** undefined for a line that is longer than the limit */
  bytes: Buffer | undefined;
  byteLength: number;
  /** Whether a line break follows. */
  isWhole: boolean;
}

/** The lines of a stream of bytes. Holds one line in memory, and none that is longer than `maxBytes`. */
export async function* byteLines(
  chunks: AsyncIterable<Buffer>,
  maxBytes = Number.POSITIVE_INFINITY,
): AsyncGenerator<ByteLine, void, void> {
  let parts: Buffer[] = [];
  let byteLength = 0;
  const add = (part: Buffer) => {
    byteLength += part.length;
    if (byteLength > maxBytes) parts = [];
    else parts.push(part);
  };
  const take = (isWhole: boolean): ByteLine => {
    const bytes = byteLength > maxBytes ? undefined : Buffer.concat(parts);
    const line = { bytes, byteLength, isWhole };
    parts = [];
    byteLength = 0;
    return line;
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf('\n'); end !== -1; end = chunk.indexOf('\n', start)) {
      add(chunk.subarray(start, end));
      yield take(true);
      start = end + 1;
    }
    add(chunk.subarray(start));
  }
  if (byteLength > 0) yield take(false);
}

/**
 * The bytes of a file, or of stdin for "-".
 *
 * @param signal closes the file
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function* fileBytes(
  path: string,
  signal?: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const stream = path === '-' ? process.stdin : createReadStream(path);
  if (signal) addAbortSignal(signal, stream);
  try {
    yield* stream;
  } catch (error) {
    throw fileError(path === '-' ? 'stdin' : path, error as NodeJS.ErrnoException);
  }
}
