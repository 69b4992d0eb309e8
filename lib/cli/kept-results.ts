// The results of an interrupted run. A resumed run keeps them if they are those that it would have.

import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { Failure } from './failures.js';
import type { ResultFile } from './result-output.js';

/** The results of a command, of one input each. */
export interface ResultKind<Item> {
  /** For messages. */
  command: string;
  /** An input in a word, for messages. */
  inputs: string;
  /** The fields of a result that its input determines. */
  keys: readonly string[];
  /** The part of a result that is known before the work. */
  headOf: (item: Item) => ResultHead;
}

export interface ResultHead {
  run: {
    seed?: number;
    /** A hash of the options and of the model's sizes. */
    settings: string;
  };
}

export interface ResultLine extends ResultHead {
  error?: Failure;
}

interface KeptResult<Item> {
  item: Item;
  result: ResultLine;
}

/** The seed of the run that wrote the results in a file; undefined for a file without results. */
export async function keptSeed(
  file: ResultFile,
  { command }: Pick<ResultKind<unknown>, 'command'>,
): Promise<number | undefined> {
  for await (const bytes of file.keptLines()) {
    return parseResult(bytes, `${file.path}:1`, command).run.seed;
  }
  return undefined;
}

/**
 * Yields the results in a file with their inputs, which are read.
 *
 * @throws INVALID_ARGUMENT (a result is not that of its input with these settings), INVALID_FILE
 */
export async function* keptResults<Item extends { place: string }>(
  file: ResultFile,
  items: AsyncIterator<Item, void>,
  kind: ResultKind<Item>,
): AsyncGenerator<KeptResult<Item>, void, void> {
  let number = 0;
  for await (const bytes of file.keptLines()) {
    number++;
    const place = `${file.path}:${number}`;
    const found = parseResult(bytes, place, kind.command);
    const { value: item } = await items.next();
    if (!item) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${place}: expected at most ${number - 1} results, one for each ${kind.inputs}`,
      );
    }
    const difference = differenceOf(kind.headOf(item), found, kind.keys);
    if (difference !== undefined) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${place}: expected the result of ${item.place}, ${difference}; --overwrite begins anew`,
      );
    }
    yield { item, result: found };
  }
}

function parseResult(bytes: Buffer, place: string, command: string): ResultLine {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (cause) {
    throw new Gpt2Error('INVALID_FILE', `${place}: it is not JSON`, { cause });
  }
  const { run } = (value ?? {}) as Partial<ResultLine>;
  if (typeof run !== 'object' || typeof run?.settings !== 'string') {
    throw new Gpt2Error('INVALID_FILE', `${place}: it is not a result of ${command}`);
  }
  return value as ResultLine;
}

function differenceOf(
  expected: ResultHead,
  found: ResultHead,
  keys: readonly string[],
): string | undefined {
  for (const key of keys) {
    const [wanted, actual] = [expected, found].map((head) =>
      new Map(Object.entries(head)).get(key),
    );
    if (JSON.stringify(wanted) !== JSON.stringify(actual)) {
      return `whose ${key} is ${shown(wanted)}, but found ${shown(actual)}`;
    }
  }
  if (expected.run.seed !== found.run.seed) {
    return `with --seed ${expected.run.seed}, but found ${found.run.seed}`;
  }
  if (expected.run.settings === found.run.settings) return undefined;
  return 'but found one with other options or of another model';
}

function shown(value: unknown): string {
  return typeof value === 'object' && value !== null ? show(JSON.stringify(value)) : show(value);
}
