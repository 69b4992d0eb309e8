import type { LoadProgress } from '../progress.js';

const progressWidth = 30;

/** A line on stderr that is overwritten. Writes nothing if stderr is not a terminal. */
export class StatusLine {
  #shown = '';

  show(line: string): void {
    if (!process.stderr.isTTY || line === this.#shown) return;
    // The spaces overwrite the end of a longer line.
    process.stderr.write(`\r${line.padEnd(this.#shown.length)}`);
    this.#shown = line;
  }

  clear(): void {
    if (this.#shown !== '') process.stderr.write(`\r${' '.repeat(this.#shown.length)}\r`);
    this.#shown = '';
  }
}

/** The progress of loading as a bar. */
function progressBar({ done, total, stage }: LoadProgress): string {
  const share = total === 0 ? 1 : done / total;
  const filled = Math.round(share * progressWidth);
  return `${stage} ${'█'.repeat(filled)}${'░'.repeat(progressWidth - filled)} ${Math.floor(share * 100)} %`;
}

/** Calls `work` with an `onProgress` callback that draws a progress bar. Clears the bar when the work has ended. */
export async function withProgressBar<T>(
  work: (onProgress: (progress: LoadProgress) => void) => Promise<T>,
): Promise<T> {
  const line = new StatusLine();
  try {
    return await work((progress) => {
      if (progress.stage !== 'load') line.show(progressBar(progress));
    });
  } finally {
    line.clear();
  }
}

/**
 * Escapes the control characters in a text from a file, except tabs and line breaks. A terminal would execute them.
 */
export function withoutControls(text: string): string {
  return text.replace(
    /(?![\t\n])\p{Cc}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * A bar in steps of an eighth of a character.
 *
 * @param share its length relative to the longest bar, from 0 to 1
 * @param width the longest bar, in characters
 */
export function bar(share: number, width: number): string {
  const eighths = Math.round(share * width * 8);
  return '█'.repeat(eighths >> 3) + ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths & 7];
}

/** A number of bytes as text: three digits and a decimal unit. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}
