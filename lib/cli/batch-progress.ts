import { StatusLine } from './terminal.js';
import { fitText } from './text-columns.js';

export interface BatchCounts {
  /** Prompts or texts with a result, including those of an earlier run. */
  done: number;
  /** How much is done of those in flight, added up. */
  begun: number;
  /** Those of the earlier run. */
  kept: number;
  /** undefined if they cannot be counted before they are read */
  total: number | undefined;
  failed: number;
  /** Those that this run has generated or scored. */
  tokens: number;
  /** The time since the start of this run. */
  seconds: number;
}

/** The progress in at most `columns` columns. What matters least is left out first. */
export function progressText(counts: BatchCounts, columns: number): string {
  const { done, begun, kept, total, failed, tokens, seconds } = counts;
  const parts = [total === undefined ? `${done} done` : `${done}/${total}`];
  const doneNow = done - kept + begun;
  if (total !== undefined && doneNow > 0 && total >= done + begun) {
    parts.push(`${timeText(((total - done - begun) * seconds) / doneNow)} left`);
  }
  if (tokens > 0) parts.push(`${Math.round(tokens / seconds)} tokens/s`);
  if (failed > 0) parts.push(`${failed} failed`);
  while (parts.length > 1 && parts.join('  ').length > columns) parts.pop();
  return fitText(parts.join('  '), columns);
}

/** Minutes and seconds, or hours, minutes and seconds. */
function timeText(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (number: number) => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const start = hours > 0 ? `${hours}:${two(minutes)}` : String(minutes);
  return `${start}:${two(whole % 60)}`;
}

const redrawMs = 100;

/** Shows the progress on stderr while it exists. Nothing is shown if stderr is not a terminal. */
export class BatchProgress implements Disposable {
  readonly counts: BatchCounts;
  readonly #line = new StatusLine();
  readonly #start = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(counts: Pick<BatchCounts, 'kept' | 'failed'>) {
    this.counts = {
      ...counts,
      done: counts.kept,
      begun: 0,
      total: undefined,
      tokens: 0,
      seconds: 0,
    };
    if (!process.stderr.isTTY) return;
    this.#timer = setInterval(() => this.#draw(), redrawMs).unref();
    process.on('exit', this.#clear);
  }

  get isShown(): boolean {
    return this.#timer !== undefined;
  }

  #draw(): void {
    this.counts.seconds = (performance.now() - this.#start) / 1000;
    // A terminal that does not know its size reports 0. A character in the last column may begin a new line.
    this.#line.show(progressText(this.counts, (process.stderr.columns || 80) - 1));
  }

  /** Removes the line until it is drawn again, before something else is written to the terminal. */
  hide(): void {
    this.#line.clear();
  }

  readonly #clear = () => this.hide();

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    process.off('exit', this.#clear);
    this.hide();
  }
}
