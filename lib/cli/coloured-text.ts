// A text in which each token has the colour of its surprisal.

import type { Score } from '../scoring/score.js';
import { bitsOf, classOf, surprisalLimits } from './surprisal.js';
import { visibleText } from './visible-text.js';

/**
 * The colours of the classes of surprisal, as parameters of SGR. The first is the terminal's own. The others are as dark as
 * they are light: they have a contrast of about 4 with white and with black. The last is text on red.
 */
const palettes = {
  16: ['', '36', '32', '33', '31', '1;37;41'],
  256: ['', '38;5;30', '38;5;64', '38;5;130', '38;5;160', '1;38;5;231;48;5;160'],
} as const;

export type Colours = keyof typeof palettes;

/** The colours that a terminal has. undefined: none, or NO_COLOR is set. */
export function coloursOf(stream: NodeJS.WriteStream): Colours | undefined {
  if (!stream.isTTY) return undefined;
  return ([256, 16] as const).find((count) => stream.hasColors(count));
}

export function colouredText(
  { text, offsets, logprobs }: Pick<Score, 'text' | 'offsets' | 'logprobs'>,
  colours: Colours,
): string {
  const parts = [visibleText(text.slice(0, offsets[0] ?? text.length))]; // not scored
  for (let token = 0; token < offsets.length; token++) {
    // The first bytes of a character have no part: it has the colour of its last byte's token.
    const part = visibleText(text.slice(offsets[token], offsets[token + 1] ?? text.length));
    const step = classOf(bitsOf(logprobs[token] as number), surprisalLimits);
    const colour = palettes[colours][step] as string;
    // Without the space before a word: a background would join it to the word before.
    parts.push(part.replace(/\S+/g, (word) => inColour(word, colour)));
  }
  return parts.join('');
}

/** The classes in their colours, as a line. */
export function colourLegend(colours: Colours): string {
  const classes = [...surprisalLimits.map((limit) => `<${limit}`), `≥${surprisalLimits.at(-1)}`];
  const shown = classes.map((name, step) => inColour(name, palettes[colours][step] as string));
  return `surprisal in bits: ${shown.join('  ')}`;
}

function inColour(text: string, colour: string): string {
  return colour === '' ? text : `\x1b[${colour}m${text}\x1b[m`;
}
