import type { LoadProgress } from '../progress.js';

const width = 30;

/** A progress bar: one line on stderr that is overwritten. Writes nothing if stderr is not a terminal. */
export class ProgressBar {
  #shown = '';

  show({ stage, done, total }: LoadProgress): void {
    if (!process.stderr.isTTY || stage === 'load') return;
    const share = total === 0 ? 1 : done / total;
    const filled = Math.round(share * width);
    const line = `${stage} ${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${Math.floor(share * 100)} %`;
    if (line === this.#shown) return;
    this.#shown = line;
    process.stderr.write(`\r${line}`);
  }

  clear(): void {
    if (this.#shown !== '') process.stderr.write(`\r${' '.repeat(this.#shown.length)}\r`);
    this.#shown = '';
  }
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
