// The results of a task: for machines, and as a table beside the published values.

import type { ModelConfig } from '../../model.js';
import { version } from '../../native/addon.js';
import { wrapText } from '../text-columns.js';
import type { HashedFile } from './file-hash.js';
import { type PublishedValues, publishedSizes } from './published.js';
import type { Metric, Task, Totals } from './task.js';

/** What was measured, and how. It does not depend on interruptions or on the machine's speed. */
export interface Report {
  task: string;
  metrics: Record<string, number>;
  /** By metric and size. */
  published: Record<string, Record<string, number>>;
  reproduced: Record<string, Record<string, number>>;
  totals: Totals;
  /** Whether the data has as many words or examples as the published. null: unknown. */
  isPublishedCount: boolean | null;
  method: Method;
  model: { source: string | null; files: HashedFile[]; config: ModelConfig; device: string };
  data: HashedFile[];
  /** Of gpt2-native. */
  version: string;
}

export interface Method {
  description: string;
  window?: number;
  stride?: number;
  detokenizer: string | null;
  limit?: number;
}

export function reportOf(
  task: Task,
  totals: Totals,
  circumstances: Pick<Report, 'method' | 'model' | 'data'>,
): Report {
  const valuesOf = (kind: 'published' | 'reproduced') =>
    Object.fromEntries(
      task.metrics.flatMap((metric) => {
        const values = metric[kind];
        return values ? [[metric.name, bySize(values)]] : [];
      }),
    );
  const { publishedCount } = task;
  return {
    task: task.name,
    metrics: Object.fromEntries(
      task.metrics.map((metric) => [metric.name, metric.valueOf(totals)]),
    ),
    published: valuesOf('published'),
    reproduced: valuesOf('reproduced'),
    totals,
    isPublishedCount: publishedCount ? totals[publishedCount.total] === publishedCount.count : null,
    ...circumstances,
    version,
  };
}

function bySize(values: PublishedValues): Record<string, number> {
  return Object.fromEntries(
    publishedSizes.flatMap((size, i) => (values[i] === undefined ? [] : [[size, values[i]]])),
  );
}

const titleWidth = 30;
const columnWidth = 9;

export function tableOf(task: Task, report: Report, columns: number): string {
  const width = Math.min(Math.max(columns - 1, 40), 100);
  const rows = task.metrics.flatMap((metric) => [
    row(metric.title, [
      valueText(report.metrics[metric.name], metric),
      ...sizes(metric.published, metric),
    ]),
    ...(metric.reproduced
      ? [row('  lm-evaluation-harness', ['', ...sizes(metric.reproduced, metric)])]
      : []),
  ]);
  return [
    row(task.name, ['measured', ...publishedSizes]),
    ...rows,
    '',
    ...wrapText(methodText(task, report), width).map((line) => line.trimEnd()),
    '',
  ].join('\n');
}

function sizes(values: PublishedValues | undefined, metric: Metric): string[] {
  return publishedSizes.map((_, i) => valueText(values?.[i], metric));
}

function row(title: string, cells: readonly string[]): string {
  const padded = cells.map((cell) => cell.padStart(columnWidth));
  return (title.padEnd(titleWidth) + padded.join('')).trimEnd();
}

function valueText(value: number | undefined, { isShare }: Metric): string {
  if (value === undefined) return '';
  if (isShare) return `${(value * 100).toFixed(2)} %`;
  return value < 1e5 ? value.toFixed(2) : value.toExponential(1);
}

function methodText(task: Task, { method, totals, isPublishedCount }: Report): string {
  const { description, window, stride, detokenizer, limit } = method;
  const counts = Object.entries(totals)
    .filter(([name]) => ['examples', 'lines', 'words', 'bytes', 'tokens'].includes(name))
    .map(([name, count]) => countText(count, name));
  const parts = [
    description,
    window === undefined ? '' : `Windows of ${window} tokens, moved by ${stride}.`,
    task.detokenizer === undefined || detokenizer !== null ? '' : 'The data was taken as it is.',
    `${counts.join(', ')}${limit === undefined ? '' : ' (limited)'}.`,
    isPublishedCount === false && limit === undefined
      ? `The published data has ${countText(task.publishedCount?.count ?? 0, task.publishedCount?.total ?? '')}.`
      : '',
    task.metrics.some(({ published }) => published)
      ? 'The values of 117M to 1542M are those of the paper (Radford et al. 2019).'
      : '',
  ];
  return parts.filter((part) => part !== '').join(' ');
}

/** @param plural the name of what is counted */
function countText(count: number, plural: string): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? plural.slice(0, -1) : plural}`;
}
