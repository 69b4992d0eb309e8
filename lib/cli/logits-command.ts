import { Command } from './commander.js';
import { type LikelyToken, likeliestTokens } from './likeliest-tokens.js';
import {
  addModelOptions,
  type ModelFlags,
  openModel,
  parseCount,
  parseNumbers,
  readInput,
} from './model-options.js';
import { bar } from './terminal.js';

interface Flags extends ModelFlags {
  tokens?: number[];
  top: number;
  json?: boolean;
}

interface Candidate extends LikelyToken {
  text: string | null;
}

export function logitsCommand(): Command {
  const command = new Command('logits')
    .description(
      'Print the likeliest next tokens after a text, with their logits and probabilities.',
    )
    .argument('[text]', 'the text; "-" reads it from stdin (default: start from <|endoftext|>)')
    .option('--tokens <ids>', 'token ids instead of a text, for example "464,3290"', parseNumbers)
    .option('--top <count>', 'number of tokens to print', parseCount, 10)
    .option('--json', 'print JSON on stdout');
  return addModelOptions(command).action(run);
}

async function run(text: string | undefined, flags: Flags): Promise<void> {
  await using model = await openModel(flags);
  const { data, tokens } = await model.logits(await readInput(text, flags.tokens));
  const candidates = likeliestTokens(data, flags.top).map(({ token, logit, probability }) => ({
    token,
    text: model.textTokenizer?.decode([token]) ?? null,
    logit,
    probability,
  }));
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ tokens: [...tokens], candidates })}\n`);
  } else {
    process.stdout.write(table(candidates));
  }
}

const barWidth = 40;

function table(candidates: readonly Candidate[]): string {
  const cells = candidates.map(({ token, text, logit, probability }) => ({
    token: String(token),
    text: text === null ? '' : JSON.stringify(text),
    logit: logit.toFixed(3),
    probability: `${(probability * 100).toPrecision(3)} %`,
    bar: bar(probability / (candidates[0]?.probability ?? 1), barWidth),
  }));
  const width = (column: 'token' | 'text' | 'logit' | 'probability', title: string) =>
    Math.max(title.length, ...cells.map((cell) => cell[column].length));
  const token = width('token', 'token');
  const text = width('text', 'text');
  const logit = width('logit', 'logit');
  const probability = width('probability', 'probability');
  const lines = cells.map((cell) =>
    [
      cell.token.padStart(token),
      cell.text.padEnd(text),
      cell.logit.padStart(logit),
      cell.probability.padStart(probability),
      cell.bar,
    ].join('  '),
  );
  const head = [
    'token'.padStart(token),
    'text'.padEnd(text),
    'logit'.padStart(logit),
    'probability'.padStart(probability),
  ].join('  ');
  return `${[head, ...lines].map((line) => line.trimEnd()).join('\n')}\n`;
}
