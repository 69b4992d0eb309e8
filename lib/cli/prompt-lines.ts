// Reads prompts from files, a line each.

import { isUtf8 } from 'node:buffer';
import { stat } from 'node:fs/promises';
import { invalidArgument, nearestName, show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { reading } from '../files.js';
import { type ByteLine, byteLines, fileBytes } from './byte-lines.js';

export const inputFormats = ['lines', 'jsonl'] as const;

export type InputFormat = (typeof inputFormats)[number];

/** What a line gives. It is checked when it is generated from. */
export interface PromptRequest {
  prompt: unknown;
  /** Any JSON value, which the result has too. */
  id?: unknown;
  options: Record<string, unknown>;
}

/** A line with a request, or one that is malformed. */
export interface PromptLine {
  /** Its number among the prompts of all files, from 0. */
  index: number;
  /** Its file and line, as in "prompts.txt:7". */
  place: string;
  request?: PromptRequest;
  failure?: Gpt2Error;
}

export interface PromptFiles {
  /** "-" is stdin. */
  paths: readonly string[];
  /** Default: by the extension of each file. */
  format?: InputFormat;
}

/** Far more than any context holds. */
const maxLineBytes = 2 ** 24;

const byteOrderMark = Buffer.from('\ufeff');

/** Checks that the files can be found, before a model is loaded for them. */
export async function checkPromptFiles({ paths }: PromptFiles): Promise<void> {
  for (const path of paths) {
    if (path !== '-') await reading(path, async () => await stat(path));
  }
}

/**
 * Reads prompts as they are asked for. Blank lines are none.
 *
 * @param signal closes the file that is being read
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function* promptLines(
  { paths, format }: PromptFiles,
  signal?: AbortSignal,
): AsyncGenerator<PromptLine, void, void> {
  let index = 0;
  for (const path of paths) {
    const parse = (format ?? formatOf(path)) === 'jsonl' ? parseJsonLine : asPrompt;
    for await (const { number, bytes } of filledLines(path, signal)) {
      const place = `${path === '-' ? 'stdin' : path}:${number}`;
      yield { index, place, ...attempt(() => parse(textOf(bytes))) };
      index++;
    }
  }
}

/** Counts the prompts of files. Returns undefined if they can be read only once. */
export async function countPrompts({ paths }: PromptFiles): Promise<number | undefined> {
  let count = 0;
  for (const path of paths) {
    if (path === '-' || !(await stat(path)).isFile()) return undefined;
    for await (const _ of filledLines(path)) count++;
  }
  return count;
}

function formatOf(path: string): InputFormat {
  return /\.(jsonl|ndjson)$/i.test(path) ? 'jsonl' : 'lines';
}

/** The lines of a file that are not blank, counted from 1. */
async function* filledLines(
  path: string,
  signal?: AbortSignal,
): AsyncGenerator<{ number: number; bytes: ByteLine['bytes'] }, void, void> {
  let number = 0;
  for await (const { bytes } of byteLines(fileBytes(path, signal), maxLineBytes)) {
    number++;
    const hasMark = number === 1 && bytes?.subarray(0, 3).equals(byteOrderMark);
    const content = hasMark ? bytes?.subarray(3) : bytes;
    if (!content || !/^[ \t\r]*$/.test(content.toString('latin1')))
      yield { number, bytes: content };
  }
}

function attempt(parse: () => PromptRequest): Pick<PromptLine, 'request' | 'failure'> {
  try {
    return { request: parse() };
  } catch (error) {
    if (error instanceof Gpt2Error) return { failure: error };
    throw error;
  }
}

function textOf(bytes: Buffer | undefined): string {
  if (bytes === undefined) {
    throw new Gpt2Error('INVALID_ARGUMENT', `Expected a line of at most ${maxLineBytes} bytes`);
  }
  if (!isUtf8(bytes)) throw new Gpt2Error('INVALID_ARGUMENT', 'Expected a line in UTF-8');
  return bytes.toString().replace(/\r$/, '');
}

function asPrompt(prompt: string): PromptRequest {
  return { prompt, options: {} };
}

function parseJsonLine(text: string): PromptRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const { message } = cause as SyntaxError;
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `Expected JSON but received ${show(text)}: ${message}`,
      {
        cause,
      },
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { prompt: value, options: {} };
  }
  const { prompt, id, ...options } = value as Record<string, unknown>;
  return { prompt, ...('id' in value && { id }), options };
}

/**
 * The prompt of a request. An array of anything but numbers would be a list of prompts to generate().
 *
 * @throws INVALID_ARGUMENT
 */
export function promptOf({ prompt, options }: PromptRequest): string | number[] {
  if (typeof prompt === 'string') return prompt;
  if (Array.isArray(prompt) && prompt.every((token) => typeof token === 'number')) return prompt;
  if (prompt !== undefined) {
    throw invalidArgument('prompt to be text or an array of token ids', prompt);
  }
  const keys = Object.keys(options);
  const isNear = keys.some((key) => nearestName(key, ['prompt']) !== '');
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `Expected an object with "prompt" but received the keys ${keys.map(show).join(', ') || '(none)'}${isNear ? nearestName('prompt', ['prompt']) : ''}`,
  );
}
