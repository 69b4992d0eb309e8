// The page of gpt2 score --html: one file, with its style, its script and its data.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { reading } from '../files.js';
import type { Score } from '../scoring/score.js';
import { bitsOf, rankLimits, surprisalLimits } from './surprisal.js';
import { visibleText } from './visible-text.js';

/** A text as the script of the page reads it. */
interface PageText {
  name: string;
  /** The text before the first scored token. */
  before: string;
  /** The part of the text of each token. '': the token ends within a character. */
  pieces: string[];
  tokens: number[];
  /** Surprisals. */
  bits: number[];
  ranks: number[];
  /** In bits. */
  entropies: number[];
  /** The likeliest tokens, [tokens, topCount]. */
  top: number[];
  topBits: number[];
  figures: Pick<Score, 'perplexity' | 'bitsPerByte' | 'tokenCount' | 'rankShares'>;
}

export interface PageData {
  /** The name of the model. */
  model: string;
  texts: PageText[];
  /** The tokens of the texts and their alternatives, as texts of one line. */
  vocabulary: Record<number, string>;
  topCount: number;
  limits: { surprisal: readonly number[]; rank: readonly number[] };
}

/** Collects what the page shows of scores, without keeping the scores. */
export class PageContent {
  readonly data: PageData;
  readonly #label: (token: number) => string;

  /** @param label a token as text of one line */
  constructor(model: string, topCount: number, label: (token: number) => string) {
    const limits = { surprisal: surprisalLimits, rank: rankLimits };
    this.data = { model, texts: [], vocabulary: {}, topCount, limits };
    this.#label = label;
  }

  add(name: string, score: Score): void {
    const { text, tokens, offsets, logprobs, ranks, entropies } = score;
    const { topTokens = new Uint32Array(0), topLogprobs = new Float32Array(0) } = score;
    const { perplexity, bitsPerByte, tokenCount, rankShares } = score;
    const { vocabulary, texts } = this.data;
    for (const token of [...tokens, ...topTokens]) vocabulary[token] ??= this.#label(token);
    texts.push({
      name,
      before: visibleText(text.slice(0, offsets[0] ?? text.length)),
      pieces: Array.from(offsets, (offset, token) =>
        visibleText(text.slice(offset, offsets[token + 1] ?? text.length)),
      ),
      tokens: [...tokens],
      bits: Array.from(logprobs, shortBits),
      ranks: [...ranks],
      entropies: Array.from(entropies, shortBits),
      top: [...topTokens],
      topBits: Array.from(topLogprobs, shortBits),
      figures: { perplexity, bitsPerByte, tokenCount, rankShares },
    });
  }
}

/** Bits with three decimals, which halve the size of the file. */
function shortBits(logprob: number): number {
  return Math.round(bitsOf(logprob) * 1000) / 1000;
}

/** @throws FILE_NOT_FOUND (the installation is incomplete) */
export async function pageOf(data: PageData): Promise<string> {
  const [page, style, script] = await Promise.all(
    ['page.html', 'page.css', 'page.js'].map(readPart),
  );
  const names = data.texts.map(({ name }) => name);
  const title =
    names.length === 1 ? `${names[0]} – surprisal` : `${names.length} texts – surprisal`;
  const parts = {
    title: escapeHtml(title),
    style,
    script,
    // An HTML parser looks for tags and comments in scripts too.
    data: JSON.stringify(data).replaceAll('<', '\\u003c'),
  };
  return (page as string).replace(
    /\{\{(\w+)\}\}/g,
    (_, name: keyof typeof parts) => parts[name] as string,
  );
}

async function readPart(name: string): Promise<string> {
  const path = join(__dirname, 'score-page', name);
  return await reading(path, async () => await readFile(path, 'utf8'));
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
