// Texts in columns of a terminal, which some characters take two of and some none.

import { stringWidth } from './string-width.js';

const segmenter = new Intl.Segmenter();

/** The characters of a text as a reader counts them: letters with their accents, whole emoji. */
export function graphemes(text: string): string[] {
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
}

/** Returns a text that fits into a number of columns. A cut is marked with "…". */
export function fitText(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  return width < 1 ? '' : `${beginning(graphemes(text), width - 1).join('')}…`;
}

/** Breaks a text into lines of at most `width` columns, between words if possible. */
export function wrapText(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => wrapParagraph(paragraph, width));
}

function wrapParagraph(paragraph: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const part of paragraph.match(/ +|[^ ]+ */g) ?? []) {
    const word = part.replace(/ +$/, '');
    const spaces = part.slice(word.length);
    if (line !== '' && stringWidth(line + word) > width) {
      lines.push(line);
      line = '';
    }
    const [last = '', ...full] = breakWord(line + word, width).reverse();
    lines.push(...full.reverse());
    // Spaces at the end of a line do not begin the next one.
    line = last + spaces.slice(0, Math.max(0, width - stringWidth(last)));
  }
  return [...lines, line];
}

/** Breaks a word between characters. */
function breakWord(word: string, width: number): string[] {
  if (stringWidth(word) <= width) return [word];
  const lines: string[] = [];
  const rest = graphemes(word);
  while (rest.length > 0) {
    // A character that is wider than the line stands alone.
    const { length } = beginning(rest, width);
    lines.push(rest.splice(0, Math.max(1, length)).join(''));
  }
  return lines;
}

/** The first characters that fit into a number of columns. */
function beginning(characters: readonly string[], width: number): string[] {
  let used = 0;
  const end = characters.findIndex((character) => {
    used += stringWidth(character);
    return used > width;
  });
  return characters.slice(0, end === -1 ? undefined : end);
}
