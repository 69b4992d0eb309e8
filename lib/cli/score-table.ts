// A table of the tokens of a text.

import type { Score } from '../scoring/score.js';
import { stringWidth } from './string-width.js';
import { bitsOf } from './surprisal.js';

type TokenScores = Pick<
  Score,
  'tokens' | 'logprobs' | 'ranks' | 'entropies' | 'topTokens' | 'topLogprobs'
>;

/**
 * A row for each token, below the titles of the columns.
 *
 * @param label a token as text of one line
 */
export function tokenTable(score: TokenScores, label: (token: number) => string): string {
  const { tokens, logprobs, ranks, entropies, topTokens } = score;
  const rows = Array.from(tokens, (token, index) => [
    label(token),
    bitsOf(logprobs[index] as number).toFixed(2),
    percent(logprobs[index] as number),
    String(ranks[index]),
    bitsOf(entropies[index] as number).toFixed(2),
    alternativesOf(score, index, label),
  ]);
  const titles = ['token', 'bits', 'probability', 'rank', 'entropy', topTokens ? 'likeliest' : ''];
  const all = [titles, ...rows];
  const widths = titles.map((_, column) =>
    all.reduce((widest, row) => Math.max(widest, stringWidth(row[column] ?? '')), 0),
  );
  return all
    .map(
      (row) =>
        `${row
          .map((cell, column) => pad(cell, column, widths))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** Numbers are aligned at their ends. */
function pad(cell: string, column: number, widths: readonly number[]): string {
  const spaces = ' '.repeat((widths[column] ?? 0) - stringWidth(cell));
  return column === 0 || column === widths.length - 1 ? cell + spaces : spaces + cell;
}

function percent(logprob: number): string {
  return `${(Math.exp(logprob) * 100).toPrecision(3)} %`;
}

function alternativesOf(
  { tokens, topTokens, topLogprobs }: TokenScores,
  index: number,
  label: (token: number) => string,
): string {
  if (!topTokens || !topLogprobs) return '';
  const count = topTokens.length / tokens.length;
  const at = index * count;
  return Array.from(
    topTokens.subarray(at, at + count),
    (token, place) => `${label(token)} ${percent(topLogprobs[at + place] as number)}`,
  ).join('  ');
}
