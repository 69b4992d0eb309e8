import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { checkWritable, isSameFile, reading, writeWhole } from '../files.js';
import { ggufParts } from '../gguf/gguf-parts.js';
import { findModelFile } from '../load-model.js';
import { version } from '../native/addon.js';
import { Argument, Command } from './commander.js';
import { evaluateAll } from './evaluation/evaluate.js';
import { hashFiles } from './evaluation/file-hash.js';
import { type Method, reportOf, tableOf } from './evaluation/report.js';
import type { Task } from './evaluation/task.js';
import { tasks } from './evaluation/tasks.js';
import { addModelOptions, type ModelFlags, openModel, parseCount } from './model-options.js';
import { addOutputOptions, checkOutputFlags, type OutputFlags } from './output-options.js';
import { hashOf } from './result-lines.js';
import { ResultFile } from './result-output.js';
import { untilSignal } from './until-signal.js';

interface Flags extends ModelFlags, OutputFlags {
  data: string[];
  window?: number;
  stride?: number;
  detokenize: boolean;
  limit?: number;
  json?: boolean;
  report?: string;
}

export function evalCommand(): Command {
  const command = new Command('eval')
    .summary("Measure a model on a data set of GPT-2's paper.")
    .description(
      `Measure a model on a data set of GPT-2's paper. Prints the results beside the published ones, and how they came about.

The data sets do not come with the package. --data takes their published files.`,
    )
    .addArgument(new Argument('<task>', 'what to measure').choices(tasks.map(({ name }) => name)))
    .requiredOption('--data <files...>', 'the data set')
    .option('--window <tokens>', "the longest window (default: the model's context)", parseCount)
    .option('--stride <tokens>', 'how far the window moves (default: its length)', parseCount)
    .option('--no-detokenize', 'take the data as it is, with spaces around punctuation')
    .option(
      '--limit <count>',
      'only the first examples, lines of a text, or kilobytes of enwik8 and text8',
      parseCount,
    )
    .helpOption('-h, --help', 'print this help')
    .optionsGroup('Output:')
    .option('--json', 'print the report as JSON')
    .option('--report <file>', 'write the report as JSON, with hashes of the model and the data');
  addOutputOptions(
    command,
    'write the results of the examples to a file, which must be new or empty, as JSON Lines',
  );
  return addModelOptions(command.optionsGroup('Model:'))
    .addHelpText('after', () => helpOfTasks())
    .action(run);
}

function helpOfTasks(): string {
  const rows = tasks.map(({ name, data }) => `  ${name.padEnd(14)}${data}`);
  return `
Tasks, and the files that they take:
${rows.join('\n')}

Examples:
  gpt2 eval wikitext-2 --data wiki.test.tokens --model gpt2
  gpt2 eval lambada --data lambada_test.jsonl --output words.jsonl --report lambada.json
  gpt2 eval lambada --data lambada_test.jsonl --output words.jsonl --report lambada.json --resume`;
}

async function run(name: string, flags: Flags): Promise<void> {
  const task = tasks.find((each) => each.name === name) as Task;
  const signal = await openAndEvaluate(task, flags);
  if (signal) process.kill(process.pid, signal); // with everything closed, it ends the process as it would have before
}

async function openAndEvaluate(task: Task, flags: Flags): Promise<NodeJS.Signals | undefined> {
  await check(task, flags);
  await using file =
    flags.output === undefined ? undefined : await ResultFile.open(flags.output, flags);
  await using model = await openModel(flags);
  void model.tokenizer.startOfText; // throws TOKENIZER_MISSING
  const { contextLength } = model.config;
  const { window = contextLength, limit } = flags;
  const { stride = window } = flags;
  if (task.hasWindows) checkWindow(window, stride, contextLength);
  return await untilSignal(async (signal) => {
    const data = await hashFiles(flags.data, signal);
    const described = {
      source: sourceName(flags),
      files: await hashFiles(await modelFiles(flags), signal),
      ...{ config: model.config, device: model.device },
    };
    const opened = await task.open({
      ...{ model, paths: flags.data, window, stride, signal },
      ...{ detokenizes: flags.detokenize, limit: limit ?? Number.POSITIVE_INFINITY },
    });
    const { isDetokenized = flags.detokenize } = opened;
    const method: Method = {
      description: task.method,
      ...(task.hasWindows && { window, stride }),
      detokenizer: isDetokenized ? (task.detokenizer ?? null) : null,
      ...(limit !== undefined && { limit }),
    };
    const settings = hashOf([task.name, method, described, data, version]);
    const totals = await evaluateAll({ task: opened, settings, file, flags, signal });
    const report = reportOf(task, totals, { method, model: described, data });
    const json = `${JSON.stringify(report, null, 2)}\n`;
    // First, so that an error of the file does not lose it.
    process.stdout.write(flags.json ? json : tableOf(task, report, process.stdout.columns || 100));
    if (flags.report !== undefined) await writeWhole(flags.report, json);
  });
}

/** Checks what is known before a model is loaded. */
async function check(task: Task, flags: Flags): Promise<void> {
  checkOutputFlags(flags);
  if (!task.hasWindows && (flags.window ?? flags.stride) !== undefined) {
    const long = tasks.filter(({ hasWindows }) => hasWindows).map(({ name }) => name);
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `Expected --window and --stride with a task of a long text (${long.join(', ')}), but received ${task.name}`,
    );
  }
  for (const path of flags.data) {
    const status = await reading(path, async () => await stat(path));
    if (!status.isFile()) {
      throw new Gpt2Error('INVALID_ARGUMENT', `${path}: expected a file, which is read twice`);
    }
  }
  const { output, report } = flags;
  if (report !== undefined) await checkWritable(report);
  for (const [name, path, others] of [
    ['--output', output, flags.data],
    ['--report', report, output === undefined ? flags.data : [...flags.data, output]],
  ] as const) {
    if (path === undefined) continue;
    for (const other of others) {
      if (!(await isSameFile(path, other))) continue;
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `Expected a file of its own for ${name}, but it is that of the ${flags.data.includes(other) ? 'data' : 'results'}: ${path}`,
      );
    }
  }
}

function checkWindow(window: number, stride: number, contextLength: number): void {
  if (contextLength < 2) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      'Expected a context of at least 2 tokens, but the model has one of 1',
    );
  }
  if (window < 2 || window > contextLength) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `Expected --window to be from 2 to ${contextLength}, the model's context, but received ${window}`,
    );
  }
  if (stride <= window) return;
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `Expected --stride to be at most the window, ${window}, but received ${stride}`,
  );
}

/** A model's name on the hub, or the name of its file or folder. null: the bundled model. */
function sourceName({ model }: ModelFlags): string | null {
  if (model === undefined) return null;
  return existsSync(model) ? basename(model) : model;
}

async function modelFiles(flags: ModelFlags): Promise<string[]> {
  const { model, cacheDir, adapter, ...options } = flags;
  const { path } = await findModelFile(model, cacheDir, {
    ...{ type: options.type, threads: options.threads, headCount: options.headCount },
    ...{ offline: options.offline, adapters: adapter },
  });
  return [...ggufParts(path)];
}
