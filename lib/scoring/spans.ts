import { invalidArgument } from '../arguments.js';
import { forEachInTurns } from '../event-loop.js';
import { TextStreamDecoder, type Tokenizer } from '../tokenizer/tokenizer.js';
import type { SpanScores } from './score.js';

/** Where tokens begin, and the text that they spell. */
export interface TokenSpans {
  text: string;
  /** in UTF-16 code units, [tokens] */
  offsets: Uint32Array;
  /** in bytes of UTF-8, [tokens] */
  byteOffsets: Uint32Array;
  byteCount: number;
}

/**
 * Finds where tokens begin in their text. The bytes of an incomplete character become text with the token that completes
 * it, so a token within a character begins where that does. Takes turns of the event loop.
 */
export async function spansOf(
  tokens: Uint32Array,
  tokenizer: Tokenizer | undefined,
): Promise<TokenSpans> {
  const offsets = new Uint32Array(tokens.length);
  const byteOffsets = new Uint32Array(tokens.length);
  if (!tokenizer) return { text: '', offsets, byteOffsets, byteCount: 0 };
  const decoder = new TextStreamDecoder(tokenizer);
  const parts: string[] = [];
  let length = 0;
  let bytes = 0;
  await forEachInTurns(tokens.entries(), ([index, token]) => {
    offsets[index] = length;
    byteOffsets[index] = bytes;
    const part = decoder.write(token);
    parts.push(part);
    length += part.length;
    bytes += tokenizer.decodeToken(token).length;
  });
  parts.push(decoder.end());
  return { text: parts.join(''), offsets, byteOffsets, byteCount: bytes };
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
