// The texts of gpt2 score: whole files, or each line of them.

import { isUtf8 } from 'node:buffer';
import { Gpt2Error } from '../errors.js';
import { fileBytes } from './byte-lines.js';
import { promptLines } from './prompt-lines.js';

export interface TextInput {
  /** The file, and the line if it has one, for messages and tables. */
  place: string;
  /** The file as it was given; "-" is stdin. */
  file: string;
  /** With one text for each line: the number of the line, from 1. */
  line?: number;
  text: string;
}

/**
 * Reads files as they are asked for, a text each.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE (it is empty or not UTF-8)
 */
export async function* fileTexts(
  paths: readonly string[],
  signal?: AbortSignal,
): AsyncGenerator<TextInput, void, void> {
  for (const file of paths) {
    const chunks: Buffer[] = [];
    for await (const chunk of fileBytes(file, signal)) chunks.push(chunk);
    const place = file === '-' ? 'stdin' : file;
    yield { place, file, text: textOf(Buffer.concat(chunks), place) };
  }
}

/**
 * Reads the lines of files that are not blank as they are asked for, a text each.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE (a line is too long or not UTF-8)
 */
export async function* lineTexts(
  paths: readonly string[],
  signal?: AbortSignal,
): AsyncGenerator<TextInput, void, void> {
  for (const file of paths) {
    for await (const { place, request, failure } of promptLines(
      { paths: [file], format: 'lines' },
      signal,
    )) {
      if (failure) throw new Gpt2Error('INVALID_FILE', `${place}: ${failure.message}`);
      const line = Number(place.slice(place.lastIndexOf(':') + 1));
      yield { place, file, line, text: request?.prompt as string };
    }
  }
}

function textOf(bytes: Buffer, place: string): string {
  // UTF-8 has zero bytes only for U+0000, which no text has.
  if (!isUtf8(bytes) || bytes.includes(0)) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${place}: expected a text in UTF-8, but it has other bytes`,
    );
  }
  const text = bytes.toString().replace(/^\ufeff/, '');
  if (text !== '') return text;
  throw new Gpt2Error('INVALID_FILE', `${place}: expected a text, but it is empty`);
}
