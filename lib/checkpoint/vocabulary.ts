import { join } from 'node:path';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { eventLoopTurn, forEachInTurns } from '../event-loop.js';
import { parseJsonObject, type ReadText, readText } from '../files.js';
import {
  endOfTextToken,
  gpt2VocabSize,
  gpt2VocabularyFiles,
} from '../tokenizer/gpt2-vocabulary.js';
import {
  maxTokens,
  plainSettings,
  type TokenizerSettings,
  tokenKinds,
  type Vocabulary,
} from '../tokenizer/vocabulary.js';
import { type AddedTokenList, addedTokens, readAddedTokens } from './added-tokens.js';
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer-files.js';

// Embeddings are padded to a round number of rows or for future tokens. More padding than this is a mistake.
const maxPadding = 65_536;

/**
 * Reads the vocabulary in a checkpoint's folder from vocab.json and merges.txt (encoder.json and vocab.bpe in OpenAI's
 * release) or from tokenizer.json, and pads it to the model's size. A vocabulary has 100,000 strings, so the work yields
 * to the event loop between steps.
 *
 * @param vocabSize the model's. Default: one more than the largest id
 * @returns undefined if the folder has none of these files; the reason in words, if this library cannot represent the
 *   tokenizer, or if it does not fit the model
 */
export async function readVocabulary(
  folder: string,
  vocabSize: number | undefined,
  read: ReadText = readText,
): Promise<Vocabulary | string | undefined> {
  const limit = (vocabSize ?? maxTokens) + maxPadding;
  const pair =
    (await readPair(folder, limit, 'vocab.json', 'merges.txt', read)) ??
    (await readPair(folder, limit, 'encoder.json', 'vocab.bpe', read));
  if (typeof pair === 'string') return pair;
  const files = await readTokenizerFiles(folder, read);
  if (!pair && typeof files === 'object' && !files.json) return undefined;
  if (typeof files === 'string') return files;
  const source = pair ?? sourceIn(join(folder, 'tokenizer.json'), files.json as TokenizerJson);
  const size = vocabSize ?? sizeOf(source);
  if (vocabSize === undefined && size > maxTokens) {
    return `it has ids up to ${size - 1}, and at most ${maxTokens} tokens are supported`;
  }
  if (producesIdsBeyond(source, size)) {
    return `text can become ids that the model, with ${size} tokens, does not have`;
  }
  const count = source.ids.size + source.added.ids.size;
  if (size - count > maxPadding) return `it has ${count} tokens, and the model has ${size}`;
  const settings = settingsOf(files, source, size);
  return typeof settings === 'string' ? settings : await padded(source, size, settings);
}

/** One more than the largest id. */
function sizeOf({ ids, added }: Source): number {
  let size = 0;
  for (const list of [ids, added.ids]) {
    for (const id of list.values()) {
      if (Number.isInteger(id)) size = Math.max(size, (id as number) + 1);
    }
  }
  return size;
}

/** The settings with the ids of the tokens that the files name; the reason in words, if an id is not the model's. */
function settingsOf(
  files: TokenizerFiles,
  { ids, added }: Source,
  vocabSize: number,
): TokenizerSettings | string {
  const idOf = (token: string | number | undefined) => {
    const id = typeof token === 'string' ? (added.ids.get(token) ?? ids.get(token)) : token;
    const isInModel = Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
    return isInModel ? (id as number) : undefined;
  };
  const before = files.before.map(idOf);
  const after = files.after.map(idOf);
  if (before.includes(undefined) || after.includes(undefined)) {
    return `it puts special tokens around texts that the model, with ${vocabSize} tokens, does not have`;
  }
  const unknown = idOf(files.unknown);
  if (files.unknown !== undefined && unknown === undefined) {
    return `its unk_token ${show(files.unknown)} is not in the vocabulary`;
  }
  return {
    addsPrefixSpace: files.addsPrefixSpace,
    before: before as number[],
    after: after as number[],
    startOfText: idOf(files.startOfText),
    endOfText: idOf(files.endOfText),
    unknown,
  };
}

/** Whether text can become tokens whose ids the model lacks. Added tokens with such ids are dropped and do not count. */
function producesIdsBeyond({ ids, added, merges }: Source, vocabSize: number): boolean {
  const beyond: string[] = [];
  for (const [token, id] of ids) {
    if (isBeyond(id, vocabSize) && !added.ids.has(token)) beyond.push(token);
  }
  if (beyond.length === 0) return false;
  const merged = new Set(merges.map((merge) => merge.replace(' ', '')));
  return beyond.some((token) => [...token].length === 1 || merged.has(token));
}

function isBeyond(id: unknown, vocabSize: number): boolean {
  return Number.isInteger(id) && (id as number) >= vocabSize;
}

// Training programs pad to a multiple of 128 for speed.
const paddedGpt2VocabSize = 50_304;

/** GPT-2's own vocabulary, padded to the model's size; undefined if the size does not fit. */
export async function paddedGpt2Vocabulary(vocabSize: number): Promise<Vocabulary | undefined> {
  if (vocabSize < gpt2VocabSize || vocabSize > paddedGpt2VocabSize) return undefined;
  const { tokens, merges } = gpt2VocabularyFiles();
  const ids = new Map([...tokens, endOfTextToken].map((token, id) => [token, id]));
  const source = { path: 'GPT-2', ids, added: addedTokens([]), merges };
  return await padded(source, vocabSize, plainSettings);
}

async function padded(
  source: Source,
  vocabSize: number,
  settings: TokenizerSettings,
): Promise<Vocabulary> {
  await eventLoopTurn();
  const { ids, added } = source;
  const tokens: string[] = new Array(vocabSize);
  const setToken = (token: string, id: unknown) => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new Gpt2Error(
        'INVALID_FILE',
        `${source.path}: expected token ids below ${vocabSize}, the model's vocabulary size, but found ${show(id)}`,
      );
    }
    if (tokens[id] !== undefined) {
      throw new Gpt2Error('INVALID_FILE', `${source.path}: the token id ${id} occurs twice`);
    }
    tokens[id] = token;
  };
  await forEachInTurns(ids, ([token, id]) => {
    if (!added.ids.has(token) && !isBeyond(id, vocabSize)) setToken(token, id);
  });
  for (const [token, id] of added.ids) {
    // Tokens may be added to a tokenizer without enlarging its model.
    if (!isBeyond(id, vocabSize)) setToken(token, id);
  }
  await eventLoopTurn();
  const kinds = Array.from(tokens, (token) => {
    if (token === undefined) return tokenKinds.unused;
    if (token === endOfTextToken || added.special.has(token)) return tokenKinds.control;
    return added.ids.has(token) ? tokenKinds.userDefined : tokenKinds.normal;
  });
  await eventLoopTurn();
  for (let id = 0; id < vocabSize; id++) tokens[id] ??= `[PAD${id}]`;
  return { tokens, kinds, merges: source.merges, settings };
}

interface Source {
  path: string;
  /** Ids by token, not validated. */
  ids: ReadonlyMap<string, unknown>;
  /** Tokens in addition to `ids`, or replacing them. */
  added: AddedTokenList;
  merges: string[];
}

/** Reads ids and merges from two files. Both are needed. */
async function readPair(
  folder: string,
  maxCount: number,
  idsName: string,
  mergesName: string,
  read: ReadText,
): Promise<Source | string | undefined> {
  const path = join(folder, idsName);
  const json = await read(path);
  const text = await read(join(folder, mergesName));
  if (json === undefined || text === undefined) return undefined;
  await eventLoopTurn();
  const ids = await readTokenIds(path, json, maxCount);
  if (ids === undefined) return `it has over ${maxCount} tokens`;
  const merges: string[] = [];
  await forEachInTurns(text.matchAll(/[^\r\n]+/g), ([line]) => {
    // The spelling of bytes has no white space. A token may begin with "#", as a comment does.
    const parts = line.trim().split(/\s+/);
    const isMerge = parts.length === 2 && ids.has(parts.join(''));
    if (parts[0] !== '' && (isMerge || !line.startsWith('#'))) merges.push(parts.join(' '));
  });
  return { path, ids, added: await readAddedTokens(folder, read), merges };
}

/**
 * Parses a vocab.json in steps: JSON.parse would block the event loop for 25 ms or more. Returns undefined if it has more
 * than `maxTokens` tokens.
 */
async function readTokenIds(
  path: string,
  json: string,
  maxTokens: number,
): Promise<Map<string, unknown> | undefined> {
  const ids = new Map<string, unknown>();
  try {
    await forEachInTurns(upTo(maxTokens + 1, tokensWithIds(json)), ([token, id]) => {
      ids.set(token, id);
    });
    return ids.size <= maxTokens ? ids : undefined;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Unusual or invalid JSON: the general parser has better error messages.
    return new Map(Object.entries(parseJsonObject(path, json)));
  }
}

/** Yields the first `count` elements. */
function* upTo<T>(count: number, all: Iterable<T>): Generator<T> {
  let left = count;
  for (const one of all) {
    yield one;
    if (--left === 0) return;
  }
}

/** Yields the entries of a JSON object of numbers. Throws a SyntaxError for any other text. */
function* tokensWithIds(json: string): Generator<[token: string, id: number]> {
  const opening = /[ \t\r\n]*\{/y;
  // The number of escapes is limited by the stack of the regular expression engine. No token has as many.
  const entry =
    /[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*){0,65536}")[ \t\r\n]*:[ \t\r\n]*(0|[1-9]\d*)[ \t\r\n]*([,}])/y;
  const matchAt = (pattern: RegExp, start: number): RegExpExecArray => {
    pattern.lastIndex = start;
    const match = pattern.exec(json);
    if (!match) throw new SyntaxError(`at ${start}`);
    return match;
  };
  let next = matchAt(opening, 0)[0].length;
  for (let separator = ','; separator === ','; ) {
    const match = matchAt(entry, next);
    const [text, token = '', id] = match;
    yield [JSON.parse(token) as string, Number(id)];
    next += text.length;
    separator = match[3] as string;
  }
  matchAt(/[ \t\r\n]*$/y, next);
}

type TokenizerJson = NonNullable<TokenizerFiles['json']>;

/** The vocabulary in a tokenizer.json. */
function sourceIn(path: string, json: TokenizerJson): Source {
  const model = json.model as { vocab?: unknown; merges?: unknown } | null | undefined;
  if (typeof model?.vocab !== 'object' || model.vocab === null || !Array.isArray(model.merges)) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected a model of type BPE with vocab and merges`,
    );
  }
  return {
    path,
    ids: new Map(Object.entries(model.vocab)),
    added: addedTokens(Array.isArray(json.added_tokens) ? json.added_tokens : []),
    merges: model.merges.map((merge) => joinMerge(path, merge)),
  };
}

/** A merge is written as "left right" or, in newer files, as ["left", "right"]. */
function joinMerge(path: string, merge: unknown): string {
  const parts: unknown[] = Array.isArray(merge) ? merge : [merge];
  const wrong = parts.find((part) => typeof part !== 'string');
  if (wrong !== undefined) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected the merges to be strings but found ${show(wrong)}`,
    );
  }
  return parts.join(' ');
}
