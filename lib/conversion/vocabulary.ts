import { join } from 'node:path';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { eventLoopTurn, forEachInTurns } from '../event-loop.js';
import { parseJsonObject, readJsonObject, readText } from './files.js';

/** llama.cpp's numbers for what a token is. */
const tokenKinds = { normal: 1, control: 3, unused: 5 } as const;

// Embeddings are padded to a round number of rows, or for tokens to come; more is a mistake.
const mostPadding = 65_536;

/** A byte-level BPE vocabulary in the spelling of Hugging Face and GGUF: bytes as printable characters. */
export interface Vocabulary {
  /** by id */
  tokens: string[];
  kinds: number[];
  /** `left right`, in the order in which they were learnt */
  merges: string[];
}

/**
 * The vocabulary of a checkpoint folder, from vocab.json and merges.txt or from tokenizer.json, padded to
 * the model's size; undefined if the folder has neither. It has 100,000 strings, so the event loop gets a
 * turn between the steps.
 */
export async function readVocabulary(
  folder: string,
  vocabSize: number,
): Promise<Vocabulary | undefined> {
  const source = (await readVocabJson(folder)) ?? (await readTokenizerJson(folder));
  if (!source) return undefined;
  await eventLoopTurn();
  const { ids, added } = source;
  const count = ids.size + added.size;
  if (vocabSize - count > mostPadding) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${source.path}: expected tokens for the model's ${vocabSize} ids but found ${count}`,
    );
  }
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
    if (!added.has(token)) setToken(token, id);
  });
  for (const [token, id] of added) setToken(token, id);
  await eventLoopTurn();
  const kinds = Array.from(tokens, (token) => {
    if (token === undefined) return tokenKinds.unused;
    return source.special.has(token) ? tokenKinds.control : tokenKinds.normal;
  });
  await eventLoopTurn();
  for (let id = 0; id < vocabSize; id++) tokens[id] ??= `[PAD${id}]`;
  return { tokens, kinds, merges: source.merges };
}

interface Source {
  path: string;
  /** by token; not yet checked */
  ids: ReadonlyMap<string, unknown>;
  /** tokens beside these, or instead of them */
  added: Map<string, number>;
  merges: string[];
  special: Set<string>;
}

async function readVocabJson(folder: string): Promise<Source | undefined> {
  const path = join(folder, 'vocab.json');
  const json = await readText(path);
  const text = await readText(join(folder, 'merges.txt'));
  if (json === undefined || text === undefined) return undefined;
  await eventLoopTurn();
  const ids = await readTokenIds(path, json);
  // The first line is a comment with the version; the others are "left right".
  const merges: string[] = [];
  await forEachInTurns(text.replace(/^#version.*/, '').matchAll(/[^\r\n]+/g), ([line]) => {
    merges.push(line);
  });
  return { path, ids, added: new Map(), merges, special: new Set(['<|endoftext|>']) };
}

/** What a vocab.json says, in steps: JSON.parse would hold up the event loop for 25 ms or more. */
async function readTokenIds(path: string, json: string): Promise<Map<string, unknown>> {
  const ids = new Map<string, unknown>();
  try {
    await forEachInTurns(tokensWithIds(json), ([token, id]) => ids.set(token, id));
    return ids;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Something else than tokens and numbers, or no JSON at all: the errors of the usual way are better.
    return new Map(Object.entries(parseJsonObject(path, json)));
  }
}

/** The entries of a JSON object of numbers; a SyntaxError where it is something else. */
function* tokensWithIds(json: string): Generator<[token: string, id: number]> {
  const opening = /\s*\{/y;
  const entry = /\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:\s*(0|[1-9]\d*)\s*([,}])/y;
  const expect = (pattern: RegExp, start: number): RegExpExecArray => {
    pattern.lastIndex = start;
    const match = pattern.exec(json);
    if (!match) throw new SyntaxError(`at ${start}`);
    return match;
  };
  let next = expect(opening, 0)[0].length;
  for (let separator = ','; separator === ','; ) {
    const match = expect(entry, next);
    const [text, token = '', id] = match;
    yield [JSON.parse(token) as string, Number(id)];
    next += text.length;
    separator = match[3] as string;
  }
  expect(/\s*$/y, next);
}

async function readTokenizerJson(folder: string): Promise<Source | undefined> {
  const path = join(folder, 'tokenizer.json');
  const json = await readJsonObject(path);
  if (!json) return undefined;
  const model = json.model as
    | { type?: unknown; vocab?: unknown; merges?: unknown }
    | null
    | undefined;
  if (
    (model?.type !== undefined && model.type !== 'BPE') ||
    typeof model?.vocab !== 'object' ||
    model.vocab === null ||
    !Array.isArray(model.merges)
  ) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected a model of type BPE with vocab and merges`,
    );
  }
  const added = new Map<string, number>();
  const special = new Set<string>();
  for (const token of Array.isArray(json.added_tokens) ? json.added_tokens : []) {
    if (typeof token?.content !== 'string') continue;
    added.set(token.content, token.id);
    if (token.special === true) special.add(token.content);
  }
  return {
    path,
    ids: new Map(Object.entries(model.vocab)),
    added,
    merges: model.merges.map((merge) => joinMerge(path, merge)),
    special,
  };
}

/** A merge is written as "left right" or, newer, as ["left", "right"]. */
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
