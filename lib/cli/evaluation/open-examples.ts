import { first, invalidData } from './data-lines.js';
import type { OpenTask, TaskRun, Totals } from './task.js';

interface Examples<One> {
  /** Reads examples as they are needed, and throws if one is not as it should be. */
  read: (run: TaskRun) => AsyncIterable<One>;
  evaluate: (run: TaskRun, example: One) => Promise<Totals>;
  parallel: number;
}

/**
 * Opens a task whose examples are read one by one. They are read once before, to count them and to find what is wrong with
 * them before any is evaluated.
 *
 * @throws INVALID_FILE (there are none, or what reading them throws)
 */
export async function openExamples<One extends { place: string }>(
  run: TaskRun,
  { read, evaluate, parallel }: Examples<One>,
): Promise<OpenTask> {
  const all = () => first(read(run), run.limit);
  let count = 0;
  for await (const _ of all()) count++;
  if (count === 0) throw invalidData(run.paths.join(', '), 'at least one example');
  return {
    ...{ count, totals: {}, parallel },
    async *examples() {
      for await (const example of all()) {
        yield { place: example.place, evaluate: () => evaluate(run, example) };
      }
    },
  };
}
