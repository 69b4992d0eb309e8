// Evaluates the examples of a task, several at the same time, and adds them up.

import { Gpt2Error } from '../../errors.js';
import { BatchProgress } from '../batch-progress.js';
import { keptResults, type ResultHead } from '../kept-results.js';
import { mapInOrder } from '../map-in-order.js';
import { noteStop, type OutputFlags } from '../output-options.js';
import { toLine } from '../result-lines.js';
import type { ResultFile } from '../result-output.js';
import { added, type Example, type OpenTask, type Totals } from './task.js';

interface Evaluation {
  task: OpenTask;
  /** A hash of all that the results depend on, beside the examples. */
  settings: string;
  file: ResultFile | undefined;
  flags: OutputFlags;
  signal: AbortSignal;
}

interface ExampleHead extends ResultHead {
  example: string;
}

const results = {
  ...{ command: 'gpt2 eval --output', inputs: 'example', keys: ['example'] },
} as const;

/** How many results may wait for an earlier one, for each example that is evaluated at the same time. */
const windowFactor = 4;

export async function evaluateAll(evaluation: Evaluation): Promise<Totals> {
  const { task, settings, file, flags, signal } = evaluation;
  const examples = task.examples()[Symbol.asyncIterator]() as AsyncGenerator<Example, void, void>;
  const headOf = ({ place }: Example): ExampleHead => ({ example: place, run: { settings } });
  let { totals } = task;
  let done = 0;
  if (file && flags.resume) {
    for await (const { result } of keptResults(file, examples, { ...results, headOf })) {
      totals = added(totals, totalsOf(result, `${file.path}:${done + 1}`));
      done++;
    }
  }
  try {
    using progress = new BatchProgress({ kept: done, failed: 0 });
    progress.counts.total = task.count;
    const limits = { parallel: task.parallel, window: windowFactor * task.parallel };
    const evaluateOne = async (example: Example) => {
      signal.throwIfAborted();
      try {
        return { example, own: await example.evaluate() };
      } catch (error) {
        if (!(error instanceof Gpt2Error) || signal.aborted) throw error;
        throw new Gpt2Error(error.code, `${example.place}: ${error.message}`, { cause: error });
      }
    };
    for await (const { example, own } of mapInOrder(examples, limits, evaluateOne)) {
      const { run, ...head } = headOf(example);
      await file?.write(toLine({ ...head, totals: own, run }));
      totals = added(totals, own);
      done++;
      progress.counts.done = done;
      progress.counts.tokens += (own.tokens ?? 0) + (own.contextTokens ?? 0);
    }
  } catch (error) {
    if (file || signal.aborted) noteStop(done, flags);
    throw error;
  }
  return totals;
}

/** @throws INVALID_FILE */
function totalsOf(result: object, place: string): Totals {
  const { totals } = result as { totals?: unknown };
  if (typeof totals === 'object' && totals !== null) {
    if (Object.values(totals).every((total) => typeof total === 'number')) return totals as Totals;
  }
  throw new Gpt2Error('INVALID_FILE', `${place}: it is not a result of ${results.command}`);
}
