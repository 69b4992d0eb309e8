import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { checkWritable, isSameFile, reading, writeWhole } from '../files.js';
import type { Model } from '../model.js';
import type { ScoreOptions } from '../scoring/score.js';
import { coloursOf } from './coloured-text.js';
import { Command, Option } from './commander.js';
import { addModelOptions, type ModelFlags, openModel, parseCount } from './model-options.js';
import { addOutputOptions, checkOutputFlags, type OutputFlags } from './output-options.js';
import { ResultFile } from './result-output.js';
import {
  type Printer,
  printColoured,
  printFigures,
  printLine,
  printTable,
} from './score-output.js';
import { PageContent, pageOf } from './score-page.js';
import { scoreAll } from './score-run.js';
import { untilSignal } from './until-signal.js';
import { visibleToken } from './visible-text.js';

interface Flags extends ModelFlags, OutputFlags {
  lines?: boolean;
  table?: boolean;
  json?: boolean;
  html?: string;
  top?: number;
  window?: number;
  stride?: number;
  startFromEndOfText: boolean;
}

/** The number of alternatives on a page. */
const pageTop = 5;

export function scoreCommand(): Command {
  const command = new Command('score')
    .summary('Score texts: how surprising each token is to the model.')
    .description(
      `Score texts: how surprising each token is to the model, and the perplexity.

A terminal shows the text in colours, and its figures. Files and pipes receive a table of the figures, a row for each text.`,
    )
    .argument('[files...]', 'texts in UTF-8; "-" is stdin (default: stdin)')
    .option('--lines', 'score each line as a text of its own; blank lines are skipped')
    .option(
      '--top <count>',
      `likeliest tokens at each position, with their probabilities (default: ${pageTop} with --html, otherwise none)`,
      parseCount,
    )
    .option('--stride <tokens>', 'how far the window moves (default: half of it)', parseCount)
    .option('--window <tokens>', "the longest window (default: the model's context)", parseCount)
    .option('--no-start-from-end-of-text', 'leave out the first token, which has no context')
    .helpOption('-h, --help', 'print this help')
    .optionsGroup('Output:')
    .addOption(
      new Option('--table', 'print a table of the tokens').conflicts(['json', 'html', 'output']),
    )
    .addOption(
      new Option(
        '--json',
        'print JSON Lines: all that model.score() returns, a line for each text',
      ).conflicts('html'),
    )
    .addOption(
      new Option(
        '--html <file>',
        'write a page of coloured text with alternatives, a curve and a histogram',
      ).conflicts('output'),
    );
  addOutputOptions(command);
  return addModelOptions(command.optionsGroup('Model:'))
    .addHelpText(
      'after',
      `
Examples:
  gpt2 score chapter.txt
  gpt2 score chapter.txt --html chapter.html
  gpt2 score *.txt --output scores.jsonl
  gpt2 score sentences.txt --lines --json | another-program`,
    )
    .action(run);
}

async function run(given: readonly string[], flags: Flags): Promise<void> {
  const signal = await openAndScore(given.length > 0 ? given : ['-'], flags);
  if (signal) process.kill(process.pid, signal); // with everything closed, it ends the process as it would have before
}

async function openAndScore(
  paths: readonly string[],
  flags: Flags,
): Promise<NodeJS.Signals | undefined> {
  await check(paths, flags);
  await using file =
    flags.output === undefined ? undefined : await ResultFile.open(flags.output, flags);
  await using model = await openModel(flags);
  void model.tokenizer.endOfText; // throws TOKENIZER_MISSING
  const options: ScoreOptions = {
    startFromEndOfText: flags.startFromEndOfText,
    contextLength: flags.window,
    stride: flags.stride,
    topK: flags.top ?? (flags.html === undefined ? 0 : Math.min(pageTop, model.config.vocabSize)),
  };
  const page = flags.html === undefined ? undefined : pageContent(model, flags, options);
  const printer = file ? printLine : printerOf(model, paths, flags);
  return await untilSignal(async (signal) => {
    const inputs = { paths, isByLine: flags.lines ?? false };
    await scoreAll(model, { inputs, options, printer, page, file, flags, signal });
    if (page && flags.html !== undefined) await writeWhole(flags.html, await pageOf(page.data));
  });
}

/** Checks what is known before a model is loaded. */
async function check(paths: readonly string[], flags: Flags): Promise<void> {
  const { html, top, table, json, output } = flags;
  checkOutputFlags(flags);
  if (top !== undefined && !(table || json || html !== undefined || output !== undefined)) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      'Expected --table, --json, --output or --html with --top',
    );
  }
  if (paths.includes('-') && process.stdin.isTTY) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      'Expected files or a text on stdin, but stdin is a terminal',
    );
  }
  for (const path of paths) {
    if (path !== '-') await reading(path, async () => await stat(path));
  }
  if (html === undefined) return;
  for (const path of paths) {
    if (path === '-' || !(await isSameFile(path, html))) continue;
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `Expected another file for --html than a text: ${html}`,
    );
  }
  await checkWritable(html);
}

function pageContent(model: Model, flags: Flags, { topK = 0 }: ScoreOptions): PageContent {
  const name = flags.model === undefined ? 'the bundled model' : basename(flags.model);
  return new PageContent(name, topK, labelOf(model));
}

function labelOf({ tokenizer }: Model): (token: number) => string {
  return (token) => visibleToken(tokenizer.decodeToken(token));
}

function printerOf(model: Model, paths: readonly string[], flags: Flags): Printer {
  if (flags.json) return printLine;
  const isOne = paths.length === 1 && !flags.lines;
  if (flags.table) return printTable(labelOf(model), isOne);
  const colours = flags.html === undefined ? coloursOf(process.stdout) : undefined;
  return colours === undefined ? printFigures() : printColoured(colours, isOne);
}
