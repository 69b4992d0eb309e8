// A command in a terminal: "script" of util-linux makes the pseudo-terminal, and xterm's parser shows its screen.

import {
  type ChildProcessWithoutNullStreams,
  execFileSync,
  spawn,
  spawnSync,
} from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Terminal } from '@xterm/headless';
import { freshFolder } from './temporary-folder.js';

/** Whether this machine has util-linux. The "script" of macOS has other options. */
export const hasPseudoTerminals = spawnSync('script', ['--version'], {
  encoding: 'utf8',
}).stdout?.includes('util-linux');

export interface TerminalOptions {
  columns: number;
  rows: number;
  environment?: NodeJS.ProcessEnv;
  /** A folder for the names of the device and of the process. */
  folder: string;
}

/** The variables by which Node tells the colours of a terminal, besides TERM: the tests' own surroundings do not count. */
const colourVariables = {
  CI: undefined,
  COLORTERM: undefined,
  FORCE_COLOR: undefined,
  NODE_DISABLE_COLORS: undefined,
  NO_COLOR: undefined,
  TEAMCITY_VERSION: undefined,
  TF_BUILD: undefined,
  AGENT_NAME: undefined,
  TERM_PROGRAM: undefined,
  TMUX: undefined,
};

export class PseudoTerminal {
  readonly exitCode: Promise<number | null>;
  /** All that was written to the terminal. */
  output = '';
  readonly #terminal: Terminal;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #notes: string;
  #onOutput = () => {};

  /** Runs Node with these arguments. */
  constructor(args: readonly string[], { columns, rows, environment, folder }: TerminalOptions) {
    this.#notes = freshFolder(folder);
    this.#terminal = new Terminal({ cols: columns, rows, allowProposedApi: true });
    const command = [process.execPath, ...args].map(quoted).join(' ');
    const script = `stty cols ${columns} rows ${rows}; cd ${quoted(this.#notes)}; tty > tty; echo $$ > pid; exec ${command}`;
    this.#child = spawn('script', ['-qefc', script, '/dev/null'], {
      env: { ...process.env, ...colourVariables, TERM: 'xterm-256color', ...environment },
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
      this.#terminal.write(text, () => this.#onOutput());
    });
    this.exitCode = new Promise((resolve) => this.#child.on('close', resolve));
  }

  /** The lines of the screen, without the spaces at their ends. */
  get lines(): string[] {
    const { active } = this.#terminal.buffer;
    return Array.from(
      { length: this.#terminal.rows },
      (_, row) =>
        active
          .getLine(active.baseY + row)
          ?.translateToString()
          .trimEnd() ?? '',
    );
  }

  get text(): string {
    return this.lines.join('\n');
  }

  get isAlternateScreen(): boolean {
    return this.#terminal.buffer.active.type === 'alternate';
  }

  get cursor(): { row: number; column: number } {
    const { cursorX: column, cursorY: row } = this.#terminal.buffer.active;
    return { row, column };
  }

  press(keys: string): void {
    this.#child.stdin.write(keys);
  }

  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows);
    execFileSync('stty', ['-F', this.#note('tty'), 'cols', `${columns}`, 'rows', `${rows}`]);
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(Number(this.#note('pid')), signal);
  }

  /** Waits until the screen is as expected. Fails if the command ends before. */
  async until(isExpected: (terminal: this) => boolean): Promise<void> {
    const shown = new Promise<void>((resolve) => {
      this.#onOutput = () => {
        if (isExpected(this)) resolve();
      };
      this.#onOutput();
    });
    const ended = this.exitCode.then((exitCode) => {
      throw new Error(`The command ended with ${exitCode}. Its screen:\n${this.text}`);
    });
    await Promise.race([shown, ended]);
  }

  /** Waits for the end of the command, and for all its output. */
  async end(): Promise<number | null> {
    const exitCode = await this.exitCode;
    await new Promise<void>((resolve) => this.#terminal.write('', resolve));
    return exitCode;
  }

  #note(name: string): string {
    return readFileSync(join(this.#notes, name), 'utf8').trim();
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
