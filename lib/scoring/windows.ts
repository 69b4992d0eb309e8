/** A part of a sequence that is evaluated alone, to score tokens at its end. */
export interface Window {
  /** The first token. */
  begin: number;
  /** The first token to score, after `begin`. */
  firstTarget: number;
  /** The end of the tokens to score. */
  end: number;
}

/**
 * The windows over a sequence of `length` tokens, as in Hugging Face's "Perplexity of fixed-length models": each has up to
 * `size` tokens, begins `stride` tokens after the one before, and scores those that no window before it has. The first
 * token of all is not scored. A window whose first token is to be scored begins one token earlier.
 */
export function windowsOf(length: number, size: number, stride: number): Window[] {
  const windows: Window[] = [];
  let scored = 1;
  for (let begin = 0; scored < length; begin += stride) {
    const end = Math.min(begin + size, length);
    if (end === scored) continue; // a window of one token, which is the first of all
    windows.push({ begin: Math.min(begin, scored - 1), firstTarget: scored, end });
    scored = end;
  }
  return windows;
}
