// The results of an interrupted run. A resumed run keeps them if they are those that it would have.

import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { PromptLine } from './prompt-lines.js';
import {
  type BatchSettings,
  type ResultHead,
  type ResultLine,
  resultHead,
} from './result-lines.js';
import type { ResultFile } from './result-output.js';

interface KeptResult {
  line: PromptLine;
  error: ResultLine['error'];
}

/** The seed of the run that wrote the results in a file; undefined for a file without results. */
export async function keptSeed(file: ResultFile): Promise<number | undefined> {
  for await (const bytes of file.keptLines()) return parseResult(bytes, `${file.path}:1`).run.seed;
  return undefined;
}

/**
 * Yields the results in a file with their prompts, which are read.
 *
 * @throws INVALID_ARGUMENT (a result is not that of its prompt with these settings), INVALID_FILE
 */
export async function* keptResults(
  file: ResultFile,
  prompts: AsyncIterator<PromptLine, void>,
  settings: BatchSettings,
): AsyncGenerator<KeptResult, void, void> {
  let number = 0;
  for await (const bytes of file.keptLines()) {
    number++;
    const place = `${file.path}:${number}`;
    const found = parseResult(bytes, place);
    const { value: line } = await prompts.next();
    if (!line) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${place}: expected at most ${number - 1} results, one for each prompt`,
      );
    }
    const difference = differenceOf(resultHead(line, settings), found);
    if (difference !== undefined) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${place}: expected the result of ${line.place}, ${difference}; --overwrite begins anew`,
      );
    }
    yield { line, error: found.error };
  }
}

function parseResult(bytes: Buffer, place: string): ResultLine {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (cause) {
    throw new Gpt2Error('INVALID_FILE', `${place}: it is not JSON`, { cause });
  }
  const { run } = (value ?? {}) as Partial<ResultLine>;
  if (typeof run !== 'object' || !Number.isSafeInteger(run?.seed)) {
    throw new Gpt2Error('INVALID_FILE', `${place}: it is not a result of gpt2 generate --prompts`);
  }
  return value as ResultLine;
}

function differenceOf(expected: ResultHead, found: ResultHead): string | undefined {
  for (const key of ['index', 'id', 'prompt'] as const) {
    if (JSON.stringify(expected[key]) !== JSON.stringify(found[key])) {
      return `whose ${key} is ${shown(expected[key])}, but found ${shown(found[key])}`;
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
