// Lays out the screen of gpt2 complete. Pure: from what it shows to lines of text.

import { stringWidth } from './string-width.js';
import { bar } from './terminal.js';
import { fitText, wrapText } from './text-columns.js';

export interface Continuation {
  /** The token, without control characters. */
  label: string;
  probability: number;
}

export interface CompleteView {
  /** The text so far, without control characters. */
  text: string;
  /** The likeliest continuations, in descending order. */
  continuations: readonly Continuation[];
  /** The index of the continuation that is taken next. None can be taken while the model computes. */
  chosen: number | undefined;
  status: string;
}

export interface ScreenSize {
  columns: number;
  rows: number;
}

export interface Screen {
  /** Lines with escape sequences that position and colour their parts. */
  lines: string[];
  /** Where the text ends, counted from 0. */
  cursor: { row: number; column: number };
}

/** A text at a column of a line, counted from 0. */
interface Part {
  column: number;
  text: string;
  style?: keyof typeof styles;
}

type Line = Part[];

// Select Graphic Rendition of ECMA-48.
const styles = { dim: 2, bold: 1, bar: 36 } as const;

const hints = ['↑↓ choose', 'Enter take', 'Ctrl-Z undo', 'Ctrl-J new line', 'Esc leave'];

/** With fewer columns, the list is below the text. */
const columnsForTwo = 70;

export function drawScreen(view: CompleteView, size: ScreenSize, hasColours: boolean): Screen {
  const { columns, rows } = size;
  const footer: Line[] = [];
  if (rows >= 4) footer.push([dim(view.status)]);
  if (rows >= 8) footer.push(...hintLines(columns).map((text) => [dim(text)]));
  const draw = columns >= columnsForTwo ? drawBeside : drawBelow;
  const { lines, cursor } = draw(view, { columns, rows: rows - footer.length });
  return {
    lines: [...lines, ...footer].map((line) => print(line, columns, hasColours)),
    cursor,
  };
}

/** The list on the right of the text. */
function drawBeside(view: CompleteView, { columns, rows }: ScreenSize) {
  const listColumn = Math.max(Math.ceil(columns * 0.55), columns - 48);
  const { lines, cursor } = textLines(view.text, { columns: listColumn - 2, rows });
  const list = listLines(view, { columns: columns - listColumn, rows });
  return {
    lines: lines.map((line, row) => [
      ...line,
      { column: listColumn - 2, text: '│', style: 'dim' as const },
      ...(list[row] ?? []).map((part) => ({ ...part, column: listColumn + part.column })),
    ]),
    cursor,
  };
}

/** The list below the text. */
function drawBelow(view: CompleteView, { columns, rows }: ScreenSize) {
  const listRows = Math.min(Math.floor((rows - 1) / 2), 10);
  if (listRows < 1) return textLines(view.text, { columns, rows });
  const { lines, cursor } = textLines(view.text, { columns, rows: rows - 1 - listRows });
  const list = listLines(view, { columns, rows: listRows });
  return { lines: [...lines, [dim('─'.repeat(columns))], ...list], cursor };
}

/** The end of the text, with the cursor behind it. */
function textLines(
  text: string,
  { columns, rows }: ScreenSize,
): { lines: Line[] } & Pick<Screen, 'cursor'> {
  // The last column is for the cursor.
  const texts = wrapText(text, Math.max(1, columns - 1)).slice(-Math.max(1, rows));
  const cursor = { row: texts.length - 1, column: stringWidth(texts.at(-1) ?? '') };
  const lines: Line[] = texts.map((text) => [{ column: 0, text }]);
  if (text === '') lines[0] = [dim('Type, or take a continuation.')];
  while (lines.length < rows) lines.push([]);
  return { lines, cursor };
}

/** The continuations, scrolled to the chosen one. */
function listLines({ continuations, chosen }: CompleteView, { columns, rows }: ScreenSize): Line[] {
  const first = Math.max(0, (chosen ?? 0) - rows + 1);
  const percentColumn = 2 + Math.max(8, Math.floor((columns - 11) * 0.55));
  const barColumn = percentColumn + 9;
  const largest = continuations[0]?.probability ?? 1;
  const lines = continuations
    .slice(first, first + rows)
    .map(({ label, probability }, row): Line => {
      const isChosen = first + row === chosen;
      const style = isChosen ? 'bold' : chosen === undefined ? 'dim' : undefined;
      const share = bar(probability / largest, Math.max(0, columns - barColumn - 1));
      return [
        { column: 0, text: isChosen ? '▸' : '', style },
        { column: 2, text: fitText(label, percentColumn - 3), style },
        { column: percentColumn, text: percent(probability), style },
        { column: barColumn, text: share, style: style === 'dim' ? style : 'bar' },
      ];
    });
  while (lines.length < rows) lines.push([]);
  return lines;
}

function percent(probability: number): string {
  const text = probability < 0.0005 ? '< 0.1' : (probability * 100).toFixed(1);
  return `${text} %`.padStart(7);
}

function hintLines(columns: number): string[] {
  const lines: string[] = [];
  for (const hint of hints) {
    const longer = `${lines.at(-1)}  ${hint}`;
    if (lines.length > 0 && longer.length <= columns) lines[lines.length - 1] = longer;
    else lines.push(hint);
  }
  return lines;
}

function dim(text: string): Part {
  return { column: 0, text, style: 'dim' };
}

// Terminals differ in the widths of some characters. Each part is therefore put at its column, and what was drawn beyond
// it is erased.
function print(line: Line, columns: number, hasColours: boolean): string {
  return line
    .filter(({ column, text }) => text !== '' && column < columns)
    .map(({ column, text, style }) => {
      const shown = fitText(text, columns - column);
      const styled = hasColours && style ? `\x1b[${styles[style]}m${shown}\x1b[0m` : shown;
      return column === 0 ? styled : `\x1b[${column + 1}G\x1b[K${styled}`;
    })
    .join('');
}
