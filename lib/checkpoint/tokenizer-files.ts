// What tokenizer.json, tokenizer_config.json and special_tokens_map.json say beside the vocabulary
// (https://huggingface.co/docs/tokenizers/api/tokenizer). Steps that would change a text in ways that this library does
// not know are refused by name.

import { join } from 'node:path';
import { show } from '../arguments.js';
import { type ReadText, readJsonObject } from '../files.js';
import { tokensWithRoles } from './added-tokens.js';

type Json = Readonly<Record<string, unknown>>;

/** The special tokens of a tokenizer, by their texts or ids, and how it treats a text. */
export interface TokenizerFiles {
  /** The content of tokenizer.json; undefined if there is none. */
  json: Json | undefined;
  addsPrefixSpace: boolean;
  /** The tokens that are put around a text, as texts or ids. */
  before: (string | number)[];
  after: (string | number)[];
  startOfText: string | undefined;
  endOfText: string | undefined;
  unknown: string | undefined;
}

/**
 * Reads the files of a tokenizer in a checkpoint's folder.
 * @returns the reason in words, if text cannot be encoded as they say
 */
export async function readTokenizerFiles(
  folder: string,
  read: ReadText,
): Promise<TokenizerFiles | string> {
  const json = await readJsonObject(join(folder, 'tokenizer.json'), read);
  const config = (await readJsonObject(join(folder, 'tokenizer_config.json'), read)) ?? {};
  const roles = (await readJsonObject(join(folder, 'special_tokens_map.json'), read)) ?? {};
  try {
    return describe(json, config, roles);
  } catch (error) {
    if (error instanceof Unsupported) return error.reason;
    throw error;
  }
}

class Unsupported {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

function describe(json: Json | undefined, config: Json, roles: Json): TokenizerFiles {
  const role = (name: string) =>
    tokensWithRoles(config, [name])[0] ?? tokensWithRoles(roles, [name])[0];
  const startOfText = role('bos_token');
  const endOfText = role('eos_token');
  const { add_prefix_space: prefix } = config;
  const model = objectOf(json?.model);
  if (json?.model) checkModel(model);
  if (!json) checkClass(config.tokenizer_class);
  const inJson = json !== undefined && checkPreTokenizer(json);
  checkNormalizer(json?.normalizer);
  const around = addedAround(json?.post_processor);
  // As in transformers, tokenizer_config.json may ask for these without a step in tokenizer.json.
  if (around.before.length === 0 && around.after.length === 0) {
    if (config.add_bos_token === true && startOfText !== undefined) around.before.push(startOfText);
    if (config.add_eos_token === true && endOfText !== undefined) around.after.push(endOfText);
  }
  if (around.before.length > 1 || around.after.length > 1) {
    throw new Unsupported('it puts more than one special token before or after a text');
  }
  return {
    json,
    addsPrefixSpace: typeof prefix === 'boolean' ? prefix : inJson,
    ...around,
    startOfText,
    endOfText,
    unknown: typeof model.unk_token === 'string' ? model.unk_token : undefined,
  };
}

function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

/** Models of old files have no type: those of BPE have merges. */
function checkModel(model: Json): void {
  const { type = model.merges === undefined ? 'a model without merges' : 'BPE' } = model;
  if (type !== 'BPE') throw new Unsupported(`its model is ${show(type)}, not BPE`);
  if (model.byte_fallback === true) throw new Unsupported('it is not byte-level (byte_fallback)');
  for (const name of [
    'continuing_subword_prefix',
    'end_of_word_suffix',
    'ignore_merges',
    'fuse_unk',
  ]) {
    const value = model[name];
    // Unknown tokens matter only if bytes have no token.
    if (name === 'fuse_unk' && typeof model.unk_token !== 'string') continue;
    if (value == null || value === '' || value === false) continue;
    throw new Unsupported(`its model sets ${name} to ${show(value)}, which is not supported`);
  }
}

// The classes of transformers that read vocab.json and merges.txt as GPT-2's does.
const gpt2Classes = /^(GPT2|CodeGen|PreTrained)Tokenizer(Fast)?$|^TokenizersBackend$/;

function checkClass(name: unknown): void {
  if (typeof name !== 'string' || gpt2Classes.test(name)) return;
  throw new Unsupported(`its tokenizer_class is ${show(name)}, which is not GPT-2's`);
}

// GPT-2's pattern, as Split takes it; ByteLevel has it built in.
const gpt2Pattern =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Checks that text is split as GPT-2 does. Returns whether a space is put in front of it. */
function checkPreTokenizer(json: Json): boolean {
  const { pre_tokenizer: step, decoder } = json;
  if (step == null && decoder == null) return false; // old files leave both out
  const steps = flattened(step, 'pretokenizers');
  const last = steps.pop();
  if (last?.type !== 'ByteLevel') {
    throw new Unsupported(
      `it is not byte-level: its pre_tokenizer is ${namesOf([...steps, last])}`,
    );
  }
  const [split, ...others] = steps;
  const splitsItself = last.use_regex !== false;
  const isGpt2Split =
    split?.type === 'Split' &&
    objectOf(split.pattern).Regex === gpt2Pattern &&
    split.behavior === 'Isolated' &&
    split.invert !== true;
  const splitsAsGpt2 = splitsItself
    ? split === undefined
    : isGpt2Split && others.length === 0 && last.add_prefix_space !== true;
  if (!splitsAsGpt2) {
    throw new Unsupported(
      `its pre_tokenizer (${namesOf([...steps, last])}) does not split text with GPT-2's pattern alone`,
    );
  }
  return last.add_prefix_space === true;
}

function checkNormalizer(step: unknown): void {
  const steps = flattened(step, 'normalizers');
  if (steps.length === 0) return;
  throw new Unsupported(`its normalizer ${namesOf(steps)} changes texts, which is not supported`);
}

/** The tokens that a post-processor puts around a text. */
function addedAround(step: unknown): Pick<TokenizerFiles, 'before' | 'after'> {
  const before: (string | number)[] = [];
  const after: (string | number)[] = [];
  for (const processor of flattened(step, 'processors')) {
    if (processor.type === 'ByteLevel') continue;
    if (processor.type === 'RobertaProcessing' || processor.type === 'BertProcessing') {
      before.unshift(idInPair(processor.cls));
      after.push(idInPair(processor.sep));
    } else if (processor.type === 'TemplateProcessing') {
      const parts = Array.isArray(processor.single) ? processor.single.map(objectOf) : [];
      const at = parts.findIndex((part) => 'Sequence' in part);
      if (at === -1) throw new Unsupported('its post_processor has no place for the text');
      const ids = (some: Json[]) => some.flatMap((part) => idsOf(part, processor));
      before.unshift(...ids(parts.slice(0, at)));
      after.push(...ids(parts.slice(at + 1)));
    } else {
      throw new Unsupported(
        `its post_processor is ${namesOf([processor])}, which is not supported`,
      );
    }
  }
  return { before, after };
}

function idInPair(pair: unknown): number {
  const id = Array.isArray(pair) ? pair[1] : undefined;
  if (typeof id === 'number') return id;
  throw new Unsupported('its post_processor names a special token without an id');
}

/** The ids of a special token in a template. */
function idsOf(part: Json, { special_tokens: tokens }: Json): number[] {
  const name = objectOf(part.SpecialToken).id;
  const ids = typeof name === 'string' ? objectOf(objectOf(tokens)[name]).ids : undefined;
  if (Array.isArray(ids) && ids.every((id) => typeof id === 'number')) return ids;
  throw new Unsupported('its post_processor names a special token without an id');
}

/** A step, or those of a sequence. A sequence in a sequence is a step of its own, which no check accepts. */
function flattened(step: unknown, key: string): Json[] {
  if (step == null) return [];
  const { type, [key]: steps } = objectOf(step);
  return type === 'Sequence' && Array.isArray(steps) ? steps.map(objectOf) : [objectOf(step)];
}

function namesOf(steps: (Json | undefined)[]): string {
  return steps.map((step) => show(step?.type)).join(', ');
}
