import type { GenerateOptions } from '../generation/generate-options.js';
import type { Input } from '../input.js';
import type { Model } from '../model.js';
import { Command } from './commander.js';
import { addGenerateOptions, generateOptionsOf } from './generate-flags.js';
import {
  addModelOptions,
  type ModelFlags,
  openModel,
  parseNumbers,
  readInput,
} from './model-options.js';

interface Flags extends ModelFlags {
  tokens?: number[];
  json?: boolean;
}

export function generateCommand(): Command {
  const command = new Command('generate')
    .description(
      'Continue a text. The prompt and its continuation are printed as they are generated.',
    )
    .argument('[prompt]', 'the text; "-" reads it from stdin (default: start from <|endoftext|>)')
    .option('--tokens <ids>', 'token ids instead of a text, for example "464,3290"', parseNumbers)
    .option('--json', 'print the result as JSON on stdout when it is complete')
    .helpOption('-h, --help', 'print this help');
  addGenerateOptions(command);
  addModelOptions(command.optionsGroup('Model:'));
  return command
    .addHelpText(
      'after',
      `
Examples:
  gpt2 generate "Once upon a time" --top-k 40 --stop "The end"
  gpt2 generate "Once upon a time" --n 3 -n 50`,
    )
    .action(run);
}

async function run(text: string | undefined, flags: Flags): Promise<void> {
  const options = generateOptionsOf({ ...flags });
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

/** Writes typed arrays as arrays. */
function withArrays(_key: string, value: unknown): unknown {
  return ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value;
}
