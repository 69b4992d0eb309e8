import type { LoadProgress } from '../index.js';

const width = 30;

/** One line on stderr that is written over and over; nothing at all if stderr is no terminal. */
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
