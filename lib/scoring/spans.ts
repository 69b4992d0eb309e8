import { invalidArgument } from '../arguments.js';
import { forEachInTurns } from '../event-loop.js';
import { SpanFinder, type TokenSpans } from '../tokenizer/token-spans.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { SpanScores } from './score.js';

/** Finds where tokens begin in their text, with turns of the event loop. Without a tokenizer there is no text. */
export async function spansOf(
  tokens: Uint32Array,
  tokenizer: Tokenizer | undefined,
): Promise<TokenSpans> {
  if (!tokenizer) {
    const none = () => new Uint32Array(tokens.length);
    return { text: '', offsets: none(), byteOffsets: none(), byteCount: 0 };
  }
  const finder = new SpanFinder(tokenizer);
  await forEachInTurns(tokens, (token) => finder.add(token));
  return finder.end();
}

export type Span = readonly [start: number, end: number];

/** What white space separates. */
export function wordsOf(text: string): Span[] {
  return Array.from(text.matchAll(/\S+/gu), ({ index, 0: word }) => [index, index + word.length]);
}

/** The lines that are not empty. */
export function linesOf(text: string): Span[] {
  return Array.from(text.matchAll(/[^\r\n]+/gu), ({ index, 0: line }) => [
    index,
    index + line.length,
  ]);
}

/** @throws INVALID_ARGUMENT */
export function checkSpans(value: unknown): Span[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw invalidArgument('spans to be an array of [start, end]', value);
  let before = 0;
  return Array.from(value, (span, index): Span => {
    const [start, end] = Array.isArray(span) ? span : [];
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < before || end <= start) {
      throw invalidArgument(
        `spans[${index}] to be [start, end) with whole numbers from ${before} on`,
        Array.isArray(span) ? `[${span.join(', ')}]` : span,
      );
    }
    before = end;
    return [start, end];
  });
}

/** Sums the log-probabilities of the tokens of each span. A token counts for the first span that it touches. */
export function sumSpans(
  spans: readonly Span[],
  { text, offsets }: TokenSpans,
  logprobs: Float32Array,
): SpanScores {
  const sums = new Float64Array(spans.length);
  let span = 0;
  for (let token = 0; token < offsets.length; token++) {
    const begin = offsets[token] as number;
    const end = Math.max(offsets[token + 1] ?? text.length, begin + 1);
    while (span < spans.length && (spans[span] as Span)[1] <= begin) span++;
    if (span === spans.length) break;
    if ((spans[span] as Span)[0] < end) (sums[span] as number) += logprobs[token] as number;
  }
  return {
    offsets: Uint32Array.from(spans, ([start]) => start),
    ends: Uint32Array.from(spans, ([, end]) => end),
    logprobs: Float32Array.from(sums),
  };
}
