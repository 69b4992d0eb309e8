import type { GenerateOptions } from '../generation.js';
import { Command } from './commander.js';
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
    .description(
      'Continue a text. The prompt and its continuation are printed as they are generated.',
    )
    .argument('[prompt]', 'the text; "-" reads it from stdin (default: start from <|endoftext|>)')
    .option('--tokens <ids>', 'token ids instead of a text, for example "464,3290"', parseNumbers)
    .option('-n, --max-tokens <count>', 'maximum number of new tokens (default: 128)', parseNumber)
    .option(
      '--temperature <number>',
      '0 always selects the likeliest token (default: 1)',
      parseNumber,
    )
    .option('--top-k <count>', 'sample from the k likeliest tokens (default: all)', parseNumber)
    .option(
      '--top-p <number>',
      'sample from the likeliest tokens with a total of p (default: all)',
      parseNumber,
    )
    .option('--seed <number>', 'same seed, same text (default: a random one)', parseNumber)
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
  // Printed with the first new token, so that an invalid prompt leaves stdout empty.
  let shown = typeof prompt === 'string' ? prompt : '';
  for await (const part of model.stream(prompt, options)) {
    // Without a tokenizer there are only ids to print.
    process.stdout.write(shown + (model.textTokenizer ? part.text : `${part.tokens.join(' ')} `));
    shown = '';
  }
  process.stdout.write(`${shown}\n`);
}
