// The texts of gpt2 score: whole files, or each line of them.

import { isUtf8 } from 'node:buffer';
import { Gpt2Error } from '../errors.js';
import { checkTextSize } from '../files.js';
import { fileBytes } from './byte-lines.js';
import { promptLines } from './prompt-lines.js';

export interface TextInput {
  /** The file, and the line if it has one, for messages and tables. */
  place: string;
  /** The file as it was given; "-" is stdin. */
  file: string;
  /** With one text for each line: the number of the line, from 1. */
  line?: number;
  /** Empty if it cannot be scored. */
  text: string;
  /** Why the text cannot be scored. The others are. */
  failure?: Gpt2Error;
}

/**
 * Reads files as they are asked for, a text each. A file that cannot be read, is empty or not UTF-8 is a failure.
 */
export async function* fileTexts(
  paths: readonly string[],
  signal?: AbortSignal,
): AsyncGenerator<TextInput, void, void> {
  for (const file of paths) {
    const input = { place: file === '-' ? 'stdin' : file, file };
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of fileBytes(file, signal)) chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      checkTextSize(input.place, bytes.length);
      yield { ...input, text: textOf(bytes) };
    } catch (error) {
      if (signal?.aborted || !(error instanceof Gpt2Error)) throw error;
      yield { ...input, text: '', failure: error };
    }
  }
}

/**
 * Reads the lines of files that are not blank as they are asked for, a text each.
 *
 * A line that is too long or not UTF-8 is a failure.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE
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
      const line = Number(place.slice(place.lastIndexOf(':') + 1));
      yield failure
        ? { place, file, line, text: '', failure: new Gpt2Error('INVALID_FILE', failure.message) }
        : { place, file, line, text: request?.prompt as string };
    }
  }
}

function textOf(bytes: Buffer): string {
  // UTF-8 has zero bytes only for U+0000, which no text has.
  if (!isUtf8(bytes) || bytes.includes(0)) {
    throw new Gpt2Error('INVALID_FILE', 'Expected a text in UTF-8 but the file has other bytes');
  }
  const text = bytes.toString().replace(/^\ufeff/, '');
  if (text !== '') return text;
  throw new Gpt2Error('INVALID_FILE', 'Expected a text but the file is empty');
}
