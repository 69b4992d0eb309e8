import { Command } from 'commander';
import type { GenerateOptions } from '../generation.js';
import {
  addModelOptions,
  type ModelFlags,
  openModel,
  parseNumber,
  parseNumbers,
  readInput,
} from './model-options.js';

interface Flags extends ModelFlags {
  tokens?: number[];
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
  json?: boolean;
}

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('Continue a text; the prompt and its continuation appear as they are made.')
    .argument('[prompt]', 'the text; "-" reads it from stdin, nothing starts from <|endoftext|>')
    .option('--tokens <ids>', 'token ids instead of a text, for example "464,3290"', parseNumbers)
    .option('-n, --max-tokens <count>', 'new tokens at most (default: 128)', parseNumber)
    .option('--temperature <number>', '0: always the likeliest token (default: 1)', parseNumber)
    .option('--top-k <count>', 'draw from the k likeliest tokens (default: all)', parseNumber)
    .option('--top-p <number>', 'draw from the likeliest that sum to p (default: all)', parseNumber)
    .option('--seed <number>', 'same seed, same text (default: a new one)', parseNumber)
    .option('--json', 'print the result as JSON on stdout when it is complete');
  return addModelOptions(command).action(run);
}

async function run(text: string | undefined, flags: Flags): Promise<void> {
  const { maxTokens, temperature, topK, topP, seed } = flags;
  const options: GenerateOptions = { maxTokens, temperature, topK, topP, seed };
  await using model = await openModel(flags);
  const prompt = await readInput(text, flags.tokens);
  if (flags.json) {
    const generation = await model.generate(prompt, options);
    const printed = { ...generation, tokens: [...generation.tokens] };
    process.stdout.write(`${JSON.stringify(printed)}\n`);
    return;
  }
  // Shown with the first new token, so that a prompt that is refused leaves nothing on stdout.
  let shown = typeof prompt === 'string' ? prompt : '';
  for await (const part of model.stream(prompt, options)) {
    // A model without a tokenizer has only ids to show.
    process.stdout.write(shown + (model.textTokenizer ? part.text : `${part.tokens.join(' ')} `));
    shown = '';
  }
  process.stdout.write(`${shown}\n`);
}
