import { Gpt2Error } from '../errors.js';
import type { NativeStage, Packed } from '../native/types.js';
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
  const numbers: Record<string, number> = {};
  let sequences: ArrayLike<number>[] = [];
  let values: number[] = [];
  let texts: string[] = [];
  const spec = optionTable[name];
  switch (spec.kind) {
    case 'number':
    case 'integer':
      numbers[spec.stage] = options[name] as number;
      if ('hasWindow' in spec) numbers.window = options.penaltyWindow ?? 0;
      if (name === 'minTokens') sequences = [options.stopTokens ?? []];
      break;
    case 'object':
      for (const [field, one] of Object.entries(spec.fields) as [string, NumberSpec][]) {
        const value = (options[name] as Record<string, unknown>)[field] ?? one.default ?? 0;
        if (typeof value === 'number') numbers[field] = value;
        else texts = value as string[];
      }
      break;
    case 'tokens':
      sequences = [options[name] as number[]];
      break;
    case 'words': {
      const words = options[name] as (string | number[])[];
      texts = words.filter((word) => typeof word === 'string');
      sequences = words.filter((word) => typeof word !== 'string');
      break;
    }
    case 'biases': {
      const biases = Object.entries(options[name] as Record<string, number>);
      sequences = biases.map(([key]) => (isTokenId(key) ? [Number(key)] : tokenizer.encode(key)));
      values = biases.map(([, bias]) => bias);
      break;
    }
  }
  return {
    ...{ name, numbers },
    sequences: packSequences(sequences),
    values: Float64Array.from(values),
    texts: packTexts(texts),
  };
}

function packSequences(sequences: readonly ArrayLike<number>[]): Packed<Uint32Array> {
  const lists = sequences.filter(({ length }) => length > 0);
  const lengths = Uint32Array.from(lists, ({ length }) => length);
  const values = new Uint32Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    values.set(list, at);
    at += list.length;
  }
  return { values, lengths };
}

/** Texts in UTF-8, in which lone surrogates become U+FFFD. */
export function packTexts(texts: readonly string[]): Packed<Uint8Array> {
  const lengths = Uint32Array.from(texts, (text) => Buffer.byteLength(text));
  return { values: Uint8Array.from(Buffer.from(texts.join(''))), lengths };
}

/** Whether a key of logitBias is a token id. Other keys are text. */
export function isTokenId(key: string): boolean {
  return /^\d+$/.test(key);
}
