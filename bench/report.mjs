// Figures to medians and ratios.

import { allTypes, contestants } from './contestants.mjs';
import { rows } from './rows.mjs';

const sorted = (numbers) => numbers.toSorted((a, b) => a - b);
const median = (numbers) => {
  const [half, all] = [numbers.length / 2, sorted(numbers)];
  return (all[Math.ceil(half) - 1] + all[Math.floor(half)]) / 2;
};
const shown = (number) => number.toPrecision(number < 1000 ? 3 : 4);

export function isSameRun(one, other) {
  return ['row', 'contestant', 'type', 'threads'].every((key) => one[key] === other[key]);
}

/** @param earlier earlier results, kept unless the same run was measured again */
export function summarize(runs, limits, earlier) {
  const measured = runs
    .filter(({ figures }) => figures.length > 0)
    .map(({ row, task, contestant, type, threads, figures }) => ({
      row,
      contestant,
      type,
      threads,
      unit: task.unit,
      moreIsBetter: task.moreIsBetter,
      median: median(figures),
      min: Math.min(...figures),
      max: Math.max(...figures),
      figures,
    }));
  const stay = earlier.filter((result) => !measured.some((other) => isSameRun(result, other)));
  const place = ({ row, type, threads, contestant }) => [
    rows.findIndex(({ name }) => name === row),
    allTypes.indexOf(type),
    threads,
    Object.keys(contestants).indexOf(contestant),
  ];
  const results = [...stay, ...measured]
    .filter(({ row }) => rows.some(({ name }) => name === row))
    .sort((a, b) => compare(place(a), place(b)));
  return { limits: bestLimits(limits), results };
}

/** Compares two lists of numbers by the first pair that differs. */
export function compare(left, right) {
  const at = left.findIndex((part, index) => part !== right[index]);
  return at < 0 ? 0 : left[at] - right[at];
}

/** The best of all rounds for each type (which determines the size of the buffer) and number of threads. */
function bestLimits(limits) {
  const best = new Map();
  for (const { type, threads, ...rates } of limits) {
    const key = `${type} ${threads}`;
    const so = best.get(key) ?? { type, threads };
    for (const [name, rate] of Object.entries(rates)) {
      so[name] = rate === null ? null : Math.max(rate, so[name] ?? 0);
    }
    best.set(key, so);
  }
  return [...best.values()];
}

export function printReport({ machine, limits, results }) {
  console.log(`${machine.processor}, ${machine.processors} processors, Node ${machine.node}`);
  console.table(limits);
  for (const result of results) {
    const { row, contestant, type, threads, unit, min, max } = result;
    const ours = results.find(
      (other) =>
        other.contestant === 'gpt2-native' &&
        other.row === row &&
        other.type === type &&
        other.threads === threads,
    );
    const spread = `${shown(min)} to ${shown(max)}`;
    console.log(
      `${row.padEnd(29)} ${type.padEnd(5)} ${threads} threads  ${contestant.padEnd(16)} ` +
        `${shown(result.median).padStart(7)} ${unit.padEnd(8)} (${spread})${ratio(result, ours)}`,
    );
  }
}

/** The factor by which this library is better. */
function ratio(result, ours) {
  if (!ours || ours === result) return '';
  const times = result.moreIsBetter ? ours.median / result.median : result.median / ours.median;
  return `  gpt2-native ${times.toFixed(2)} ×`;
}
