import { Gpt2Error } from '../errors.js';
import type { NativeStage } from '../native/types.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { GenerateOptions, SamplerName } from './generate-options.js';
import { type NumberSpec, optionTable, stageNames } from './option-table.js';

/**
 * The stages of the sampler that the options ask for, with their settings by the names in the table of options.
 *
 * @throws INVALID_ARGUMENT if `samplers` lacks one of them
 */
export function samplerStages(options: GenerateOptions, tokenizer: Tokenizer): NativeStage[] {
  const active = stageNames.filter((name) => hasEffect(name, options));
  const order = (options.samplers ?? stageNames) as readonly SamplerName[];
  const missing = active.find((name) => !order.includes(name));
  if (missing !== undefined) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `Expected samplers to have "${missing}", since that option is given, but received ${order.join(', ') || 'none'}`,
    );
  }
  return order
    .filter((name) => active.includes(name))
    .map((name) => stageOf(name, options, tokenizer));
}

function hasEffect(name: SamplerName, options: GenerateOptions): boolean {
  const value = options[name];
  if (value === undefined) return false;
  if (Array.isArray(value)) return value.length > 0;
  const spec = optionTable[name];
  return !('default' in spec) || value !== spec.default;
}

function stageOf(name: SamplerName, options: GenerateOptions, tokenizer: Tokenizer): NativeStage {
  const stage: NativeStage = { name, numbers: {}, sequences: [], values: [], texts: [] };
  const spec = optionTable[name];
  switch (spec.kind) {
    case 'number':
    case 'integer':
      stage.numbers[spec.stage] = options[name] as number;
      if ('hasWindow' in spec) stage.numbers.window = options.penaltyWindow ?? 0;
      if (name === 'minTokens') stage.sequences = asSequences([options.stopTokens ?? []]);
      break;
    case 'object':
      for (const [field, one] of Object.entries(spec.fields) as [string, NumberSpec][]) {
        const value = (options[name] as Record<string, unknown>)[field] ?? one.default ?? 0;
        if (typeof value === 'number') stage.numbers[field] = value;
        else stage.texts = value as string[];
      }
      break;
    case 'tokens':
      stage.sequences = asSequences([options[name] as number[]]);
      break;
    case 'words': {
      const words = options[name] as (string | number[])[];
      stage.texts = words.filter((word) => typeof word === 'string');
      stage.sequences = asSequences(words.filter((word) => typeof word !== 'string'));
      break;
    }
    case 'biases':
      for (const [key, bias] of Object.entries(options[name] as Record<string, number>)) {
        const sequence = isTokenId(key) ? [Number(key)] : tokenizer.encode(key);
        stage.sequences.push(Uint32Array.from(sequence));
        stage.values.push(bias);
      }
      break;
  }
  return stage;
}

/** Whether a key of logitBias is a token id. Other keys are text. */
export function isTokenId(key: string): boolean {
  return /^\d+$/.test(key);
}

function asSequences(sequences: readonly ArrayLike<number>[]): Uint32Array[] {
  return sequences.filter(({ length }) => length > 0).map((tokens) => Uint32Array.from(tokens));
}
