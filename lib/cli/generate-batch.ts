// gpt2 generate --prompts: many prompts, whose results are lines of JSON.

import { type ErrorCode, Gpt2Error } from '../errors.js';
import { generationSettings, randomSeed } from '../generation/check-options.js';
import type { GenerateOptions } from '../generation/generate-options.js';
import type { Model } from '../model.js';
import { BatchProgress } from './batch-progress.js';
import { type Failure, Failures } from './failures.js';
import { keptResults, keptSeed, type ResultKind } from './kept-results.js';
import { mapInOrder } from './map-in-order.js';
import { type ModelFlags, openModel } from './model-options.js';
import { noteStop, type OutputFlags } from './output-options.js';
import {
  checkPromptFiles,
  countPrompts,
  type InputFormat,
  type PromptFiles,
  type PromptLine,
  promptLines,
  promptOf,
} from './prompt-lines.js';
import {
  type BatchSettings,
  failureLine,
  generationLine,
  optionsOf,
  resultHead,
} from './result-lines.js';
import { ResultFile, standardOutput } from './result-output.js';
import { untilSignal } from './until-signal.js';

export interface BatchFlags extends OutputFlags {
  prompts: string[];
  inputFormat?: InputFormat;
  parallel?: number;
}

export const defaultParallel = 32;

/** How many results may wait for an earlier one, for each prompt that is generated from. */
const windowFactor = 4;

/** The codes of errors that other prompts do not have. After any other, the run ends and can be resumed. */
const promptErrors: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'INVALID_ARGUMENT',
  'UNKNOWN_OPTION',
  'TOKEN_OUT_OF_RANGE',
  'CONTEXT_OVERFLOW',
  'TOKENIZER_MISSING',
  'NOT_FINITE',
]);

const promptResults = {
  command: 'gpt2 generate --prompts',
  inputs: 'prompt',
  keys: ['index', 'id', 'prompt'],
} as const;

interface Result {
  line: PromptLine;
  /** The line to write. */
  text: string;
  error?: Failure;
}

/** Generates from all prompts. Sets the exit code if one of them fails. */
export async function generateBatch(
  flags: BatchFlags & ModelFlags,
  options: GenerateOptions,
): Promise<void> {
  const signal = await openAndRun(flags, options);
  if (signal) process.kill(process.pid, signal); // with everything closed, it ends the process as it would have before
}

async function openAndRun(
  flags: BatchFlags & ModelFlags,
  { seed, ...options }: GenerateOptions,
): Promise<NodeJS.Signals | undefined> {
  const files: PromptFiles = { paths: flags.prompts, format: flags.inputFormat };
  await checkPromptFiles(files);
  await using file =
    flags.output === undefined ? undefined : await ResultFile.open(flags.output, flags);
  await using model = await openModel(flags);
  generationSettings('generate', { ...options, seed }, model.tokenizer); // throws what every prompt would fail with
  const kept = flags.resume ? file : undefined;
  const settings: BatchSettings = {
    seed: seed ?? (kept && (await keptSeed(kept, promptResults))) ?? randomSeed(),
    options,
    config: model.config,
  };
  const batch = new Batch(model, settings, file, flags);
  return await untilSignal((signal) => batch.run(files, signal));
}

class Batch {
  readonly #model: Model;
  readonly #settings: BatchSettings;
  readonly #file: ResultFile | undefined;
  readonly #flags: BatchFlags;
  readonly #failures = new Failures();
  #done = 0;

  constructor(
    model: Model,
    settings: BatchSettings,
    file: ResultFile | undefined,
    flags: BatchFlags,
  ) {
    this.#model = model;
    this.#settings = settings;
    this.#file = file;
    this.#flags = flags;
  }

  async run(files: PromptFiles, signal: AbortSignal): Promise<void> {
    const prompts = promptLines(files, signal);
    if (this.#file && this.#flags.resume) {
      const kind: ResultKind<PromptLine> = {
        ...promptResults,
        headOf: (line) => resultHead(line, this.#settings),
      };
      for await (const { item, result } of keptResults(this.#file, prompts, kind)) {
        this.#count({ line: item, error: result.error });
      }
    }
    try {
      await this.#generateAll(prompts, files, signal);
    } catch (error) {
      noteStop(this.#done, this.#flags);
      throw error;
    }
    this.#failures.report(this.#done, 'prompts');
  }

  async #generateAll(
    prompts: AsyncIterable<PromptLine>,
    files: PromptFiles,
    signal: AbortSignal,
  ): Promise<void> {
    using progress = new BatchProgress({ kept: this.#done, failed: this.#failures.count });
    const { counts } = progress;
    if (progress.isShown) {
      countPrompts(files).then(
        (total) => {
          counts.total = total;
        },
        () => {}, // a file that cannot be read fails when its prompts are needed
      );
    }
    const onPart: GenerateOptions['onPart'] = (_, { tokens }) => {
      counts.tokens += tokens.length;
    };
    const own = progress.isShown ? { signal, onPart } : { signal };
    const { parallel = defaultParallel } = this.#flags;
    const limits = { parallel, window: windowFactor * parallel };
    const output = this.#file ?? standardOutput;
    for await (const result of mapInOrder(prompts, limits, (line) => this.#resultOf(line, own))) {
      if (!this.#file) progress.hide();
      await output.write(result.text);
      this.#count(result);
      [counts.done, counts.failed] = [this.#done, this.#failures.count];
    }
  }

  /** @param own options that are not in the result */
  async #resultOf(line: PromptLine, own: GenerateOptions): Promise<Result> {
    const head = resultHead(line, this.#settings);
    const failed = (error: Gpt2Error) => ({ line, text: failureLine(head, error), error });
    const { request, failure } = line;
    if (!request) return failed(failure as Gpt2Error);
    try {
      const options = { ...own, ...optionsOf(line, this.#settings) };
      const generation = await this.#model.generate(promptOf(request), options);
      return { line, text: generationLine(head, generation) };
    } catch (error) {
      if (error instanceof Gpt2Error && promptErrors.has(error.code)) return failed(error);
      throw error;
    }
  }

  #count({ line, error }: Omit<Result, 'text'>): void {
    this.#done++;
    if (error) this.#failures.add(line.place, error);
  }
}
