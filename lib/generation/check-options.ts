import { types } from 'node:util';
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkSignal,
  invalidArgument,
  nearestName,
  show,
} from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { NativeGenerateOptions } from '../native/types.js';
import { checkHasTokenizer, MissingTokenizer, type Tokenizer } from '../tokenizer/tokenizer.js';
import type { GenerateOptions } from './generate-options.js';
import {
  type NumberSpec,
  type OptionName,
  type OptionSpec,
  optionTable,
  type StageObjectSpec,
  stageNames,
} from './option-table.js';
import { isTokenId, packTexts, samplerStages } from './sampler-stages.js';

/** The options of a call, checked. */
export interface GenerationSettings {
  native: NativeGenerateOptions;
  options: GenerateOptions;
  n: number;
  bestOf: number;
  signal: AbortSignal | undefined;
}

const optionNames = Object.keys(optionTable) as OptionName[];

/**
 * Checks the options of generate or stream and adds the defaults.
 *
 * @param call the call's name, for errors
 * @throws INVALID_ARGUMENT, UNKNOWN_OPTION, TOKEN_OUT_OF_RANGE, TOKENIZER_MISSING
 */
export function generationSettings(
  call: string,
  given: GenerateOptions | undefined,
  tokenizer: Tokenizer,
): GenerationSettings {
  const checked = checkOptions(call, given, optionNames);
  const options: Record<string, unknown> = {};
  for (const name of optionNames) {
    const value = checked[name];
    if (value !== undefined) options[name] = checkValue(name, value, optionTable[name], tokenizer);
  }
  return settingsOf(options as GenerateOptions, tokenizer);
}

function settingsOf(options: GenerateOptions, tokenizer: Tokenizer): GenerationSettings {
  const { seed = randomSeed(), n = 1, bestOf = n, stop = [] } = options;
  if (bestOf < n) throw invalidArgument(`bestOf to be at least n, which is ${n},`, bestOf);
  checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER - bestOf);
  if (bestOf > 1 && options.onPart) {
    throw invalidArgument(
      'n and bestOf to be 1 with onPart, which gets parts of one text,',
      bestOf,
    );
  }
  const { logprobs = false, topLogprobs } = options;
  const stopStrings = typeof stop === 'string' ? [stop] : [...stop];
  if (stopStrings.length > 0) checkHasTokenizer(tokenizer);
  return {
    native: {
      maxTokens: options.maxTokens ?? optionTable.maxTokens.default,
      minTokens: options.minTokens ?? 0,
      seed,
      stages: samplerStages(options, tokenizer),
      stopStrings: packTexts(stopStrings),
      stopTokens: Uint32Array.from(options.stopTokens ?? []),
      ignoreEndOfText: options.ignoreEndOfText ?? false,
      timeBudgetMs: options.timeBudgetMs,
      overflow: options.overflow ?? optionTable.overflow.default,
      topLogprobs: topLogprobs ?? (logprobs || bestOf > n ? 0 : undefined),
      logprobsOfSampler: options.logprobsFrom === 'sampler',
      hostStep: options.logitsProcessor ? 'logits' : options.stopWhen ? 'confirm' : 'none',
    },
    options,
    n,
    bestOf,
    signal: options.signal as AbortSignal | undefined,
  };
}

export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/** The settings for one of several prompts: without a seed in the options, each has another. */
export function settingsForPrompt(settings: GenerationSettings): GenerationSettings {
  if (settings.options.seed !== undefined) return settings;
  return { ...settings, native: { ...settings.native, seed: randomSeed() } };
}

/** Checks that a stream has one sample: the best is known at the end, and parts of several would be mixed. */
export function checkOneSample({ bestOf }: GenerationSettings): void {
  if (bestOf > 1) throw invalidArgument('n and bestOf to be 1 in a stream', bestOf);
}

/** Checks a value and returns it, or a copy that the caller cannot change. */
function checkValue(
  name: string,
  value: unknown,
  spec: OptionSpec | NumberSpec,
  tokenizer: Tokenizer,
): unknown {
  switch (spec.kind) {
    case 'integer': {
      const largest = name === 'topLogprobs' ? tokenizer.vocabSize : Number.MAX_SAFE_INTEGER;
      return checkInteger(name, value, spec.min, spec.max ?? largest);
    }
    case 'number':
      return checkNumber(name, value, (number) => isInRange(number, spec), rangeOf(spec));
    case 'boolean':
      return checkBoolean(name, value);
    case 'choice':
      return checkOneOf(name, value, spec.choices);
    case 'texts':
      return checkTexts(name, value);
    case 'tokens':
      return checkTokens(name, value, tokenizer);
    case 'words':
      return checkWords(name, value, tokenizer);
    case 'biases':
      return checkBiases(name, value, tokenizer);
    case 'samplers':
      return checkSamplers(name, value);
    case 'function':
      return checkFunction(name, value);
    case 'signal':
      return checkSignal(value);
    case 'object':
      return checkFields(name, value, spec, tokenizer);
  }
}

function isInRange(number: number, { min, max = Number.MAX_VALUE, above }: NumberSpec): boolean {
  return (above ? number > min : number >= min) && number <= max;
}

function rangeOf({ min, max, above }: NumberSpec): string {
  if (min === Number.NEGATIVE_INFINITY) return 'a finite number';
  const lower = above ? `above ${min}` : `of at least ${min}`;
  return max === undefined ? `a number ${lower}` : `a number ${lower} and at most ${max}`;
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || types.isTypedArray(value);
}

/** Whether a value is an object without a class, of any realm. */
function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || isList(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function checkText(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') {
    throw invalidArgument(`${name} to be text of at least one character`, value);
  }
  return value;
}

function checkTexts(name: string, value: unknown): string[] {
  if (typeof value === 'string') return [checkText(name, value)];
  if (!Array.isArray(value))
    throw invalidArgument(`${name} to be text or an array of texts`, value);
  return Array.from(value, (text, index) => checkText(`${name}[${index}]`, text));
}

function checkToken(name: string, value: unknown, { vocabSize }: Tokenizer): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < vocabSize) {
    return value as number;
  }
  throw new Gpt2Error(
    'TOKEN_OUT_OF_RANGE',
    `Expected ${name} to be a token id from 0 to ${vocabSize - 1} but received ${show(value)}`,
  );
}

function checkTokens(name: string, value: unknown, tokenizer: Tokenizer): number[] {
  if (!isList(value)) throw invalidArgument(`${name} to be an array of token ids`, value);
  return Array.from(value, (token, index) => checkToken(`${name}[${index}]`, token, tokenizer));
}

function checkWords(name: string, value: unknown, tokenizer: Tokenizer): (string | number[])[] {
  if (!Array.isArray(value)) {
    throw invalidArgument(`${name} to be an array of texts and arrays of token ids`, value);
  }
  return Array.from(value, (word, index) => {
    const at = `${name}[${index}]`;
    if (typeof word === 'string') {
      checkHasTokenizer(tokenizer);
      return checkText(at, word);
    }
    const tokens = checkTokens(at, word, tokenizer);
    if (tokens.length === 0) throw invalidArgument(`${at} to have at least one token`, word);
    return tokens;
  });
}

function checkBiases(name: string, value: unknown, tokenizer: Tokenizer): Record<string, number> {
  if (!isRecord(value)) {
    throw invalidArgument(`${name} to be an object with numbers by token id or text`, value);
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, bias]) => {
      if (isTokenId(key)) checkToken(`the key of ${name}`, Number(key), tokenizer);
      else checkText(`the key of ${name}`, key);
      const fits = (number: number) => number < Number.POSITIVE_INFINITY;
      return [key, checkNumber(`${name}[${show(key)}]`, bias, fits, 'a number below Infinity')];
    }),
  );
}

function checkSamplers(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) {
    throw invalidArgument(`${name} to be an array of ${stageNames.join(', ')}`, value);
  }
  const names: string[] = [];
  for (const each of Array.from(value)) {
    if (!(stageNames as readonly unknown[]).includes(each)) {
      throw invalidArgument(
        `the elements of ${name} to be stages (${stageNames.join(', ')})${nearestName(each, stageNames)}`,
        each,
      );
    }
    if (names.includes(each)) throw invalidArgument(`each stage once in ${name}`, each);
    names.push(each);
  }
  return names;
}

function checkFields(
  name: string,
  value: unknown,
  spec: StageObjectSpec,
  tokenizer: Tokenizer,
): Record<string, unknown> {
  const names = Object.keys(spec.fields);
  const given = checkOptions(name, value as Record<string, unknown>, names);
  const fields: Record<string, unknown> = {};
  for (const [field, one] of Object.entries(spec.fields)) {
    const path = `${name}.${field}`;
    // Without a vocabulary, no token contains a text.
    const isText = one.kind === 'texts' && tokenizer instanceof MissingTokenizer;
    const fieldValue = given[field] ?? (isText ? [] : one.default);
    if (fieldValue !== undefined) {
      fields[field] = checkValue(path, fieldValue, one, tokenizer);
    } else if (!one.help.includes('Default:')) {
      throw invalidArgument(`${path} to be ${rangeOf(one as NumberSpec)}`, undefined);
    }
  }
  return fields;
}
