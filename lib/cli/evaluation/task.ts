import type { Model } from '../../model.js';
import type { PublishedValues } from './published.js';

/** A data set, and the way to measure a model on it. */
export interface Task {
  /** As on the command line. */
  name: string;
  /** The published form of the data, for the help. */
  data: string;
  /** How a figure comes about, for the report. */
  method: string;
  /** Whether the window and its stride matter: the data is one long text. */
  hasWindows?: boolean;
  /** The detokenizer that is used unless the data is taken as it is. */
  detokenizer?: string;
  metrics: readonly Metric[];
  /** The number of words or examples of the published data, by the name of the total that counts them. */
  publishedCount?: { total: string; count: number };
  /** Reads and checks the data. */
  open(run: TaskRun): Promise<OpenTask>;
}

/** What a task may depend on. */
export interface TaskRun {
  model: Model;
  paths: readonly string[];
  window: number;
  stride: number;
  /** Whether the traces of the data's own tokens are removed. */
  detokenizes: boolean;
  /** Reads only the first examples, or lines of one long text. */
  limit: number;
  signal: AbortSignal;
}

export interface OpenTask {
  count: number;
  /** What is counted over the whole data. */
  totals: Totals;
  /** In order. May be called several times. */
  examples(): AsyncIterable<Example>;
  /** The number of examples that fill the passes of the engine. */
  parallel: number;
  /** Whether the detokenizer was used, if that depends on the data. */
  isDetokenized?: boolean;
}

/** A part of the data that is evaluated by itself. */
export interface Example {
  /** Its file and line, as in "data.jsonl:7", or its number. */
  place: string;
  evaluate(): Promise<Totals>;
}

/** Counts and sums, by name. Those of all examples are added. */
export type Totals = Record<string, number>;

export interface Metric {
  /** In the report. */
  name: string;
  /** In the table. */
  title: string;
  valueOf(totals: Totals): number;
  isShare?: boolean;
  /** By the paper. */
  published?: PublishedValues;
  /** By others who measured in this way. */
  reproduced?: PublishedValues;
}

/** The sum of an example's totals and those before. */
export function added(sums: Totals, totals: Totals): Totals {
  const all = { ...sums };
  for (const [name, value] of Object.entries(totals)) all[name] = (all[name] ?? 0) + value;
  return all;
}

/** One total divided by another. */
export function ratio(totals: Totals, dividend: string, divisor: string): number {
  return (totals[dividend] ?? 0) / (totals[divisor] ?? 0);
}

/** A metric that is a share of the examples. */
export function accuracy(
  name: string,
  title: string,
  published?: PublishedValues,
  reproduced?: PublishedValues,
): Metric {
  return {
    ...{ name, title, isShare: true },
    valueOf: (totals) => ratio(totals, name, 'examples'),
    ...(published && { published }),
    ...(reproduced && { reproduced }),
  };
}
