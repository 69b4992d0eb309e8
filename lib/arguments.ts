// Checks of what callers pass in. Every failure says what was expected and what was received.

import { Gpt2Error } from './errors.js';

/** A value as it reads in an error: short, and with its type where that is not plain to see. */
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
 * The options of a call, none of which may be unknown: a misspelt option must not be ignored in silence.
 * @param call the call's name, for the error
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
        `Expected an option of ${call} (${known.join(', ') || 'none'}) but received ${show(key)}`,
      );
    }
  }
  return options;
}

export function checkInteger(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    const range =
      most >= Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw invalidArgument(`${name} to be a whole number ${range}`, value);
  }
  return value;
}

/** Threads of one call: ggml's own limit. */
const maxThreads = 512;

export function checkThreads(value: unknown): number {
  return checkInteger('threads', value, 1, maxThreads);
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
  if (value !== undefined && !(value instanceof AbortSignal)) {
    throw invalidArgument('signal to be an AbortSignal', value);
  }
  return value;
}

export function checkFunction<T>(name: string, value: T): T {
  if (value !== undefined && typeof value !== 'function') {
    throw invalidArgument(`${name} to be a function`, value);
  }
  return value;
}
