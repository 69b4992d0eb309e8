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
    .option('--json', 'print the result as JSON on stdout when it is complete');
  return addModelOptions(addGenerateOptions(command)).action(run);
}

async function run(text: string | undefined, flags: Flags): Promise<void> {
  const options = generateOptionsOf({ ...flags });
  await using model = await openModel(flags);
  const prompt = await readInput(text, flags.tokens);
  if (flags.json) {
    const generation = await model.generate(prompt, options);
    process.stdout.write(`${JSON.stringify(generation, withArrays)}\n`);
    return;
  }
  // Printed with the first new token, so that an invalid prompt leaves stdout empty.
  let shown = typeof prompt === 'string' ? prompt : '';
  for await (const part of model.stream(prompt, options)) {
    // Without a tokenizer there are only ids to print.
    const ids = part.tokens.map((token) => `${token} `).join('');
    process.stdout.write(shown + (model.textTokenizer ? part.text : ids));
    shown = '';
  }
  process.stdout.write(`${shown}\n`);
}

/** Writes typed arrays as arrays. */
function withArrays(_key: string, value: unknown): unknown {
  return ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value;
}
