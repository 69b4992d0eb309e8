import type { ReadStream, WriteStream } from 'node:tty';
import type { Screen, ScreenSize } from './complete-screen.js';

// Control sequences of xterm. The alternate screen leaves the other one as it is. Its lines are not continued on the next,
// and pasted text arrives in brackets.
const enter = '\x1b[?1049h\x1b[?7l\x1b[?2004h\x1b[2J';
const leave = '\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l';
const clear = '\x1b[2J';
const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';

const deadlySignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The alternate screen of a terminal in raw mode. Every way out of the process restores the terminal. */
export class FullScreen implements Disposable {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #render: (size: ScreenSize) => Screen;
  #shown: string[] = [];
  #redrawing: NodeJS.Immediate | undefined;

  /** @param render returns what to show in a terminal of this size */
  constructor(input: ReadStream, output: WriteStream, render: (size: ScreenSize) => Screen) {
    this.#input = input;
    this.#output = output;
    this.#render = render;
    process.on('exit', this.#restore);
    // Before the error is printed.
    process.on('uncaughtExceptionMonitor', this.#restore);
    for (const signal of deadlySignals) process.on(signal, this.#die);
    output.on('resize', this.#onResize);
    input.setRawMode(true);
    output.write(enter);
  }

  /** Shows what has changed, once for all the keys in a chunk of input. */
  redraw(): void {
    this.#redrawing ??= setImmediate(() => {
      this.#redrawing = undefined;
      // A terminal that does not know its size, such as a serial line, reports 0.
      const { columns, rows } = this.#output;
      this.#draw(this.#render({ columns: columns || 80, rows: rows || 24 }));
    });
  }

  #draw({ lines, cursor }: Screen): void {
    const changed = lines.map((line, row) =>
      line === this.#shown[row] ? '' : `${moveTo(row, 0)}\x1b[2K${line}`,
    );
    this.#shown = lines;
    this.#output.write(
      `${hideCursor}${changed.join('')}${moveTo(cursor.row, cursor.column)}${showCursor}`,
    );
  }

  [Symbol.dispose](): void {
    this.#restore();
  }

  readonly #onResize = () => {
    this.#shown = [];
    this.#output.write(clear);
    this.redraw();
  };

  readonly #restore = () => {
    process.off('exit', this.#restore);
    process.off('uncaughtExceptionMonitor', this.#restore);
    for (const signal of deadlySignals) process.off(signal, this.#die);
    clearImmediate(this.#redrawing);
    this.#output.off('resize', this.#onResize);
    this.#output.write(leave);
    this.#input.setRawMode(false);
  };

  readonly #die = (signal: NodeJS.Signals) => {
    this.#restore();
    process.kill(process.pid, signal);
  };
}

function moveTo(row: number, column: number): string {
  return `\x1b[${row + 1};${column + 1}H`;
}
