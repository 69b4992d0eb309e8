import { join } from 'node:path';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { eventLoopTurn, forEachInTurns } from '../event-loop.js';
import { parseJsonObject, readJsonObject, readText } from '../files.js';
import type { Vocabulary } from '../gguf/model-file.js';
import { tokenKinds } from '../tokenizer/added-tokens.js';
import {
  endOfTextToken,
  gpt2VocabSize,
  gpt2VocabularyFiles,
} from '../tokenizer/gpt2-vocabulary.js';
import { type AddedTokenList, addedTokens, readAddedTokens } from './added-tokens.js';

// Embeddings are padded to a round number of rows or for future tokens. More padding than this is a mistake.
const maxPadding = 65_536;

/** A tokenizer that this library cannot represent. Its model works with token ids. */
export type Unsupported = 'unsupported';

/**
 * Reads the vocabulary in a checkpoint's folder from vocab.json and merges.txt (encoder.json and vocab.bpe in OpenAI's
 * release) or from tokenizer.json, and pads it to the model's size. Returns undefined if the folder has none of them.
 * Returns 'unsupported' for a tokenizer that is not byte-level BPE, that produces ids beyond the model's, or that has
 * far fewer tokens than the model. A vocabulary has 100,000 strings, so the work yields to the event loop between steps.
 */
export async function readVocabulary(
  folder: string,
  vocabSize: number,
): Promise<Vocabulary | Unsupported | undefined> {
  const source =
    (await readPair(folder, vocabSize, 'vocab.json', 'merges.txt')) ??
    (await readPair(folder, vocabSize, 'encoder.json', 'vocab.bpe')) ??
    (await readTokenizerJson(folder));
  if (source === undefined || source === 'unsupported') return source;
  if (producesIdsBeyond(source, vocabSize)) return 'unsupported';
  if (vocabSize - source.ids.size - source.added.ids.size > maxPadding) return 'unsupported';
  return await padded(source, vocabSize);
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
  return await padded({ path: 'GPT-2', ids, added: addedTokens([]), merges }, vocabSize);
}

async function padded(source: Source, vocabSize: number): Promise<Vocabulary> {
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
  return { tokens, kinds, merges: source.merges };
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
  vocabSize: number,
  idsName: string,
  mergesName: string,
): Promise<Source | Unsupported | undefined> {
  const path = join(folder, idsName);
  const json = await readText(path);
  const text = await readText(join(folder, mergesName));
  if (json === undefined || text === undefined) return undefined;
  await eventLoopTurn();
  const ids = await readTokenIds(path, json, vocabSize + maxPadding);
  if (ids === undefined) return 'unsupported';
  const merges: string[] = [];
  await forEachInTurns(text.matchAll(/[^\r\n]+/g), ([line]) => {
    // The spelling of bytes has no white space. A token may begin with "#", as a comment does.
    const parts = line.trim().split(/\s+/);
    const isMerge = parts.length === 2 && ids.has(parts.join(''));
    if (parts[0] !== '' && (isMerge || !line.startsWith('#'))) merges.push(parts.join(' '));
  });
  return { path, ids, added: await readAddedTokens(folder), merges };
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

async function readTokenizerJson(folder: string): Promise<Source | Unsupported | undefined> {
  const path = join(folder, 'tokenizer.json');
  const json = await readJsonObject(path);
  if (!json) return undefined;
  const model = json.model as TokenizerModel | null | undefined;
  if (model && !isByteLevelBpe(model, json)) return 'unsupported';
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

interface TokenizerModel {
  type?: unknown;
  vocab?: unknown;
  merges?: unknown;
  byte_fallback?: unknown;
}

/** Whether a tokenizer.json describes byte-level BPE. Models of old files have no type: those of BPE have merges. */
function isByteLevelBpe(model: TokenizerModel, json: Record<string, unknown>): boolean {
  const isBpe = model.type === 'BPE' || (model.type === undefined && model.merges !== undefined);
  if (!isBpe || model.byte_fallback === true) return false;
  const steps = [json.pre_tokenizer, json.decoder].filter((step) => step != null);
  return steps.length === 0 || JSON.stringify(steps).includes('"ByteLevel"');
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
