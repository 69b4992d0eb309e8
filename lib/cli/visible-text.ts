// Texts of users and models as a terminal may show them: nothing in them drives the terminal, and nothing is invisible.

import { isUtf8 } from 'node:buffer';

/** Escapes what a terminal would execute or not show. Line breaks, spaces and the joiners of emoji are kept. */
export function visibleText(text: string): string {
  return text
    .replaceAll('\t', '    ')
    .replace(/(?![\n\u200c\u200d])[\p{C}\p{Zl}\p{Zp}]/gu, escaped);
}

/**
 * A token as text of one line: its spaces and line breaks are visible, and bytes that are not whole characters are in
 * hex.
 *
 * @example visibleToken(Buffer.from(' the\n')); // '␣the⏎'
 */
export function visibleToken(bytes: Uint8Array): string {
  const text = [...parts(bytes)].map(visiblePart).join('');
  // A mark that combines with the character before it needs one.
  return /^\p{M}/u.test(text) ? `◌${text}` : text;
}

function visiblePart(part: string | number): string {
  if (typeof part === 'number') return `\\x${part.toString(16).padStart(2, '0')}`;
  const sign = signs.get(part);
  return sign ?? part.replace(/[\p{C}\p{Z}]/u, escaped);
}

const signs = new Map([
  [' ', '␣'],
  ['\n', '⏎'],
  ['\t', '⇥'],
]);

/** The characters of UTF-8, and the bytes that belong to none. */
function* parts(bytes: Uint8Array): Generator<string | number> {
  for (let start = 0; start < bytes.length; ) {
    const ends = [1, 2, 3, 4].map((length) => start + length);
    const end = ends.find((end) => end <= bytes.length && isUtf8(bytes.subarray(start, end)));
    yield end === undefined
      ? (bytes[start] as number)
      : Buffer.from(bytes.subarray(start, end)).toString();
    start = end ?? start + 1;
  }
}

/** A character as JavaScript escapes it. */
function escaped(character: string): string {
  const hex = (character.codePointAt(0) as number).toString(16);
  return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`;
}
