// Data sets as lines of text or JSON.

import { isUtf8 } from 'node:buffer';
import { Gpt2Error } from '../../errors.js';
import { byteLines, fileBytes } from '../byte-lines.js';

export interface DataLine {
  /** As in "data.txt:7". */
  place: string;
  text: string;
}

/** More than any line of a data set has, except those that are one line: enwik8 and text8. */
const maxLineBytes = 2 ** 24;

/**
 * Reads the lines of files as they are asked for, without their line breaks.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE (a line is too long or not UTF-8)
 */
export async function* dataLines(
  paths: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<DataLine, void, void> {
  for (const path of paths) {
    let number = 0;
    for await (const { bytes } of byteLines(fileBytes(path, signal), maxLineBytes)) {
      number++;
      const place = `${path}:${number}`;
      if (bytes === undefined) throw invalidData(place, `a line of at most ${maxLineBytes} bytes`);
      if (!isUtf8(bytes)) throw invalidData(place, 'a line in UTF-8');
      const text = bytes.toString();
      yield { place, text: (number === 1 ? text.replace(/^\ufeff/, '') : text).replace(/\r$/, '') };
    }
  }
}

/** A line of JSON Lines. Blank lines are skipped. */
export async function* dataObjects(
  paths: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<{ place: string; value: Record<string, unknown> }, void, void> {
  for await (const { place, text } of dataLines(paths, signal)) {
    if (text.trim() !== '') yield { place, value: parseObject(text, place) };
  }
}

/** @throws INVALID_FILE */
export function parseObject(text: string, place: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalidData(place, 'a JSON object', cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw invalidData(place, 'a JSON object');
}

export function invalidData(place: string, expected: string, cause?: unknown): Gpt2Error {
  return new Gpt2Error('INVALID_FILE', `${place}: expected ${expected}`, { cause });
}

/** The first elements, at most `count` of them. */
export async function* first<T>(
  elements: AsyncIterable<T>,
  count: number,
): AsyncGenerator<T, void, void> {
  if (count <= 0) return;
  let number = 0;
  for await (const element of elements) {
    yield element;
    if (++number >= count) return;
  }
}
