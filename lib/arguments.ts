// Checks of the arguments that callers pass. Every error says what was expected and what was received.

import { Gpt2Error } from './errors.js';
import { completeSignal, isAbortSignal } from './native/abort.js';

/** A value as text for an error message: shortened, and with its type where the text alone does not show it. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  }
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'symbol' || typeof value === 'function') return `a ${typeof value}`;
  if (typeof value === 'object' && value !== null) {
    const name = Object.getPrototypeOf(value)?.constructor?.name;
    return typeof name === 'string' && name !== 'Object'
      ? `an object of class ${name}`
      : 'an object';
  }
  return String(value);
}

export function invalidArgument(expected: string, received: unknown): Gpt2Error {
  return new Gpt2Error('INVALID_ARGUMENT', `Expected ${expected} but received ${show(received)}`);
}

/**
 * Returns the options of a call. An unknown option is an error, so that a misspelt one is not silently ignored.
 *
 * @param call the call's name, for the error
 * @throws INVALID_ARGUMENT, UNKNOWN_OPTION
 */
export function checkOptions<T extends object>(
  call: string,
  options: T | undefined,
  known: readonly (keyof T & string)[],
): T {
  if (options === undefined) return {} as T;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidArgument(`the options of ${call} to be an object`, options);
  }
  for (const key of Object.keys(options)) {
    if (!(known as readonly string[]).includes(key)) {
      throw new Gpt2Error(
        'UNKNOWN_OPTION',
        `Expected an option of ${call} (${known.join(', ') || 'none'}) but received ${show(key)}${nearestName(key, known)}`,
      );
    }
  }
  return options;
}

/** The end of an error message that names what a misspelt name may have meant; empty if nothing is close. */
export function nearestName(given: unknown, known: readonly string[]): string {
  if (typeof given !== 'string') return '';
  const plain = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const sought = plain(given.slice(0, 100));
  let nearest: string | undefined;
  let least = Math.max(1, Math.floor(sought.length / 3)) + 1; // more edits make another word
  for (const name of known) {
    const edits = editDistance(sought, plain(name));
    if (edits < least) [nearest, least] = [name, edits];
  }
  return nearest === undefined ? '' : `. Did you mean "${nearest}"?`;
}

/** The number of characters to insert, delete or replace (Levenshtein 1965). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

export function checkInteger(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    const range = max >= Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw invalidArgument(`${name} to be a whole number ${range}`, value);
  }
  return value;
}

/** ggml's limit for the threads of one call (GGML_MAX_N_THREADS). */
const maxThreads = 512;

export function checkThreads(value: unknown): number {
  return checkInteger('threads', value, 1, maxThreads);
}

export function checkHeadCount(value: unknown): number {
  return checkInteger('headCount', value, 1, 2 ** 31 - 1);
}

export function checkNumber(
  name: string,
  value: unknown,
  fits: (value: number) => boolean,
  expected: string,
): number {
  if (typeof value !== 'number' || !fits(value)) {
    throw invalidArgument(`${name} to be ${expected}`, value);
  }
  return value;
}

export function checkString(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidArgument(`${name} to be a string`, value);
  return value;
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalidArgument(`${name} to be true or false`, value);
  return value;
}

export function checkOneOf<T extends string>(
  name: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (!(choices as readonly unknown[]).includes(value)) {
    throw invalidArgument(
      `${name} to be one of ${choices.map((choice) => `"${choice}"`).join(', ')}`,
      value,
    );
  }
  return value as T;
}

export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  if (!isAbortSignal(value)) throw invalidArgument('signal to be an AbortSignal', value);
  return completeSignal(value);
}

export function checkFunction<T>(name: string, value: T): T {
  if (value !== undefined && typeof value !== 'function') {
    throw invalidArgument(`${name} to be a function`, value);
  }
  return value;
}
