// The forms in which gpt2 score prints a text and its scores.

import type { Score } from '../scoring/score.js';
import { type Colours, colouredText, colourLegend } from './coloured-text.js';
import type { Failure } from './failures.js';
import { toLine } from './result-lines.js';
import { figuresHead, figuresLine, figuresRow } from './score-figures.js';
import type { ScoreHead } from './score-head.js';
import type { TextInput } from './score-inputs.js';
import { tokenTable } from './score-table.js';
import { withoutControls } from './terminal.js';

/** What is printed of a text. Texts are printed in order. */
export interface Printer {
  print(input: TextInput, score: Score, head: ScoreHead): string;
  /** For a text that cannot be scored. Without it, nothing is printed. */
  printFailure?: (failure: Failure, head: ScoreHead) => string;
  /** Follows the last text. */
  end?: () => string;
}

/** A line of JSON. */
export const printLine: Printer = {
  print(_, { text: __, ...score }, { run, ...head }) {
    return toLine({ ...head, ...score, run });
  },
  printFailure({ code, message }, { run, ...head }) {
    return toLine({ ...head, error: { code, message }, run });
  },
};

/** A row of figures for each text, below a head. */
export function printFigures(): Printer {
  let head = figuresHead;
  return {
    print({ place }, score) {
      const rows = head + figuresRow(nameText(place), score);
      head = '';
      return rows;
    },
  };
}

/** A table for each text, with headings as those of head and tail if there are several. */
export function printTable(label: (token: number) => string, isOne: boolean): Printer {
  return separated(isOne, (_, score) => tokenTable(score, label));
}

/** The text in colours and its figures. */
export function printColoured(colours: Colours, isOne: boolean): Printer {
  return {
    ...separated(isOne, (_, score) => {
      const text = colouredText(score, colours);
      return `${text}${score.text.endsWith('\n') ? '' : '\n'}\n${figuresLine(score)}\n`;
    }),
    end: () => `${colourLegend(colours)}\n`,
  };
}

function separated(isOne: boolean, print: Printer['print']): Printer {
  let isFirst = true;
  return {
    print(input, score, head) {
      const heading = isOne ? '' : `${isFirst ? '' : '\n'}==> ${nameText(input.place)} <==\n`;
      isFirst = false;
      return heading + print(input, score, head);
    },
  };
}

/** A name may contain any character but a slash. */
function nameText(name: string): string {
  return withoutControls(name).replaceAll('\n', '\\n');
}
