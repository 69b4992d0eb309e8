// The figures of texts: a row each, or a line of words.

import type { Score } from '../scoring/score.js';

type Figures = Pick<Score, 'perplexity' | 'bitsPerByte' | 'tokenCount' | 'meanRank' | 'rankShares'>;

/** The name comes last, so that a row can be printed before the next text is scored. */
const columns: readonly [title: string, width: number, cell: (figures: Figures) => string][] = [
  ['tokens', 9, ({ tokenCount }) => String(tokenCount)],
  ['perplexity', 12, ({ perplexity }) => number(perplexity)],
  ['bits/byte', 11, ({ bitsPerByte }) => number(bitsPerByte, 3)],
  ['top 10', 9, ({ rankShares }) => percent(rankShares.top10)],
  ['top 100', 9, ({ rankShares }) => percent(rankShares.top100)],
  ['top 1,000', 11, ({ rankShares }) => percent(rankShares.top1000)],
];

export const figuresHead = rowOf(
  columns.map(([title]) => title),
  'text',
);

export function figuresRow(name: string, figures: Figures): string {
  return rowOf(
    columns.map(([, , cell]) => cell(figures)),
    name,
  );
}

function rowOf(cells: readonly string[], name: string): string {
  const padded = cells.map((cell, index) => cell.padStart(columns[index]?.[1] ?? 0));
  return `${padded.join('')}  ${name}\n`;
}

export function figuresLine(figures: Figures): string {
  const { perplexity, bitsPerByte, tokenCount, rankShares } = figures;
  const { top10, top100, top1000 } = rankShares;
  return [
    `perplexity ${number(perplexity)}`,
    `${number(bitsPerByte, 3)} bits per byte`,
    `${tokenCount} ${tokenCount === 1 ? 'token' : 'tokens'}`,
    `top 10 ${percent(top10)}, top 100 ${percent(top100)}, top 1,000 ${percent(top1000)}`,
  ].join(' · ');
}

/** A text of one unscored token has no figures. */
function number(value: number, digits = 2): string {
  if (Number.isNaN(value)) return '–';
  return value < 1e6 ? value.toFixed(digits) : value.toExponential(2);
}

function percent(share: number): string {
  return Number.isNaN(share) ? '–' : `${(share * 100).toFixed(1)} %`;
}
