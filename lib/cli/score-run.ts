// Scores texts, several at the same time, and prints them in order.

import { basename } from 'node:path';
import { Gpt2Error } from '../errors.js';
import type { Model } from '../model.js';
import type { Score, ScoreOptions } from '../scoring/score.js';
import { BatchProgress } from './batch-progress.js';
import { Failures } from './failures.js';
import { keptResults } from './kept-results.js';
import { mapInOrder } from './map-in-order.js';
import { noteStop, type OutputFlags } from './output-options.js';
import { countPrompts } from './prompt-lines.js';
import { type ResultFile, standardOutput } from './result-output.js';
import { headsOf } from './score-head.js';
import { fileTexts, lineTexts, type TextInput } from './score-inputs.js';
import type { Printer } from './score-output.js';
import type { PageContent } from './score-page.js';

interface Run {
  inputs: { paths: readonly string[]; isByLine: boolean };
  options: ScoreOptions;
  printer: Printer;
  page: PageContent | undefined;
  /** Where the results go; undefined for stdout. */
  file: ResultFile | undefined;
  flags: OutputFlags;
  signal: AbortSignal;
}

interface Scored {
  input: TextInput;
  /** undefined for a text that cannot be scored */
  score: Score | undefined;
}

/** A window of a file fills a pass; lines fill one together. */
const filesInFlight = 2;
const linesInFlight = 32;

/** How many scores may wait for an earlier text, for each text in flight. */
const windowFactor = 4;

const scoreResults = {
  command: 'gpt2 score --output',
  inputs: 'text',
  keys: ['file', 'line', 'text'],
} as const;

export async function scoreAll(model: Model, run: Run): Promise<void> {
  const { inputs, options, file, flags, signal, printer, page } = run;
  const { paths, isByLine } = inputs;
  const texts = isByLine ? lineTexts(paths, signal) : fileTexts(paths, signal);
  const headOf = headsOf(model, options);
  const failures = new Failures();
  let done = 0;
  if (file && flags.resume) {
    for await (const { item, result } of keptResults(file, texts, { ...scoreResults, headOf })) {
      if (result.error) failures.add(item.place, result.error);
      done++;
    }
  }
  const output = file ?? standardOutput;
  try {
    using progress = new BatchProgress({ kept: done, failed: failures.count });
    countTexts(inputs, progress);
    const parallel = isByLine ? linesInFlight : filesInFlight;
    const limits = { parallel, window: windowFactor * parallel };
    const scoreOne = async (input: TextInput): Promise<Scored> => {
      if (input.failure) return { input, score: undefined };
      const onProgress = progressOf(progress);
      const score = await model.score(input.text, { ...options, signal, onProgress });
      return { input, score };
    };
    for await (const { input, score } of mapInOrder(texts, limits, scoreOne)) {
      if (!file) progress.hide();
      const { failure, place } = input;
      if (score) {
        page?.add(basename(place), score);
        await output.write(printer.print(input, score, headOf(input)));
      } else if (failure) {
        failures.add(place, failure);
        const line = printer.printFailure?.(failure, headOf(input));
        if (line !== undefined) await output.write(line);
      }
      done++;
      [progress.counts.done, progress.counts.failed] = [done, failures.count];
      if (score && score.tokenCount > 0) progress.counts.begun--;
    }
    progress.hide();
    if (printer.end) await output.write(printer.end());
  } catch (error) {
    if (file || signal.aborted) noteStop(done, flags);
    throw error;
  }
  failures.report(done, 'texts');
  if (page && done === failures.count) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `Expected a text for the page in ${paths.join(', ')}, but there is none`,
    );
  }
}

/** Counts the texts beside the work, for the time left. */
function countTexts({ paths, isByLine }: Run['inputs'], { counts, isShown }: BatchProgress): void {
  if (!isByLine) counts.total = paths.length;
  else if (isShown) {
    countPrompts({ paths, format: 'lines' }).then(
      (total) => {
        counts.total = total;
      },
      () => {}, // a file that cannot be read fails when its texts are needed
    );
  }
}

/** A listener that adds what is done of a text to the counts. */
function progressOf({ counts }: BatchProgress): ScoreOptions['onProgress'] {
  let before = 0;
  return ({ done, total }) => {
    counts.tokens += done - before;
    counts.begun += (done - before) / total;
    before = done;
  };
}
