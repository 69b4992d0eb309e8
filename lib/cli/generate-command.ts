import { Gpt2Error } from '../errors.js';
import type { GenerateOptions } from '../generation/generate-options.js';
import type { Input } from '../input.js';
import type { Model } from '../model.js';
import { Command, Option } from './commander.js';
import { type BatchFlags, defaultParallel, generateBatch } from './generate-batch.js';
import { addGenerateOptions, generateOptionsOf } from './generate-flags.js';
import {
  addModelOptions,
  type ModelFlags,
  openModel,
  parseCount,
  parseNumbers,
  readInput,
} from './model-options.js';
import { addOutputOptions, checkOutputFlags } from './output-options.js';
import { inputFormats } from './prompt-lines.js';
import { withArrays } from './result-lines.js';

interface Flags extends ModelFlags, Partial<BatchFlags> {
  tokens?: number[];
  json?: boolean;
}

export function generateCommand(): Command {
  const command = new Command('generate')
    .summary('Continue a text, or each of many prompts in files.')
    .description(
      `Continue a text. The prompt and its continuation are printed as they are generated.

With --prompts, continue each of many prompts, several at the same time. Their results are lines of JSON in the order of the prompts.`,
    )
    .argument('[prompt]', 'the text; "-" reads it from stdin (default: start from <|endoftext|>)')
    .option('--tokens <ids>', 'token ids instead of a text, for example "464,3290"', parseNumbers)
    .option('--json', 'print the result as JSON on stdout when it is complete')
    .helpOption('-h, --help', 'print this help');
  addBatchOptions(command.optionsGroup('Many prompts:'));
  addGenerateOptions(command);
  addModelOptions(command.optionsGroup('Model:'));
  return command
    .addHelpText(
      'after',
      `
Examples:
  gpt2 generate "Once upon a time" --top-k 40 --stop "The end"
  gpt2 generate "Once upon a time" --n 3 -n 50
  gpt2 generate --prompts prompts.txt --output results.jsonl
  gpt2 generate --prompts prompts.txt --output results.jsonl --resume
  echo '{ "prompt": "Once", "maxTokens": 9, "id": 1 }' |
    gpt2 generate --prompts - --input-format jsonl`,
    )
    .action(run);
}

function addBatchOptions(command: Command): void {
  command
    .addOption(
      new Option(
        '--prompts <file...>',
        'files of prompts, a line each; "-" is stdin; blank lines are skipped',
      ).conflicts('tokens'),
    )
    .addOption(
      new Option(
        '--input-format <format>',
        'jsonl: lines of JSON, each a text, an array of token ids, or an object with "prompt", options of this command (maxTokens, …) and an "id", which the result has too (default: jsonl for .jsonl and .ndjson, otherwise lines)',
      ).choices(inputFormats),
    );
  addOutputOptions(command).option(
    '--parallel <count>',
    `the number of prompts in flight at the same time (default: ${defaultParallel})`,
    parseCount,
  );
}

async function run(text: string | undefined, flags: Flags): Promise<void> {
  const options = generateOptionsOf({ ...flags });
  checkTogether(text, flags);
  if (flags.prompts) {
    await generateBatch({ ...flags, prompts: flags.prompts }, options);
    return;
  }
  await using model = await openModel(flags);
  const prompt = await readInput(text, flags.tokens);
  if (flags.json) {
    const generation = await model.generate(prompt, options);
    process.stdout.write(`${JSON.stringify(generation, withArrays)}\n`);
  } else if ((options.bestOf ?? options.n ?? 1) > 1) {
    await printSamples(model, prompt, options);
  } else {
    await printParts(model, prompt, options);
  }
}

/** Checks that options are given which need one another. */
function checkTogether(text: string | undefined, flags: Flags): void {
  const { prompts, output, resume, overwrite, inputFormat, parallel } = flags;
  const forPrompts = {
    '--output': output,
    '--resume': resume,
    '--overwrite': overwrite,
    '--input-format': inputFormat,
    '--parallel': parallel,
  };
  if (prompts && text !== undefined) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `Expected a prompt or --prompts but received both: ${JSON.stringify(text)} and ${prompts.join(', ')}`,
    );
  }
  for (const [name, value] of Object.entries(forPrompts)) {
    if (!prompts && value !== undefined) {
      throw new Gpt2Error('INVALID_ARGUMENT', `Expected --prompts with ${name}`);
    }
  }
  checkOutputFlags(flags);
}

/** Prints the text as it is generated. */
async function printParts(model: Model, prompt: Input, options: GenerateOptions): Promise<void> {
  // Printed with the first new token, so that an invalid prompt leaves stdout empty.
  let shown = beginningOf(prompt);
  for await (const part of model.stream(prompt, options)) {
    process.stdout.write(shown + newText(model, part));
    shown = '';
  }
  process.stdout.write(`${shown}\n`);
}

/** Prints all samples, with a heading for each on stderr. */
async function printSamples(model: Model, prompt: Input, options: GenerateOptions): Promise<void> {
  const { samples = [] } = await model.generate(prompt, options);
  for (const [index, sample] of samples.entries()) {
    const heading = `---- sample ${index + 1} of ${samples.length}, seed ${sample.seed}`;
    if (samples.length > 1) process.stderr.write(`${index > 0 ? '\n' : ''}${heading}\n`);
    process.stdout.write(`${beginningOf(prompt)}${newText(model, sample)}\n`);
  }
}

function beginningOf(prompt: Input): string {
  return typeof prompt === 'string' ? prompt : '';
}

/** The new text; for a model without a tokenizer, the ids of the new tokens. */
function newText(
  model: Model,
  { text, tokens }: { text: string; tokens: Iterable<number> },
): string {
  return model.textTokenizer ? text : Array.from(tokens, (token) => `${token} `).join('');
}
