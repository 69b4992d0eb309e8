// Vocabularies of byte-level BPE as other models have them, learnt from the texts beside this file.

import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { seededRandom } from '../../scripts/random-checkpoint.mjs';
import { german, manyScripts, russianAndGreek, sourceCode } from './texts.mjs';
import { learnMerges, spelledWords } from './train.mjs';

const { spellBytes } = createRequire(import.meta.url)('../../dist/tokenizer/byte-spelling.js');

const allBytes = Array.from({ length: 256 }, (_, byte) => spellBytes(Uint8Array.of(byte)));
const formed = (merges) => [...new Set(merges.map((merge) => merge.replace(' ', '')))];
const idsOf = (tokens) => Object.fromEntries(tokens.map((token, id) => [token, id]));

function shuffled(list, seed) {
  const random = seededRandom(seed);
  const all = [...list];
  for (let at = all.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [all[at], all[other]] = [all[other], all[at]];
  }
  return all;
}

const added = (ids, content, special) => ({
  id: ids[content],
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
});

const byteLevel = (prefix = false) => ({
  type: 'ByteLevel',
  add_prefix_space: prefix,
  trim_offsets: true,
  use_regex: true,
});

/** The content of tokenizer.json. */
function tokenizerJson({ vocab, merges, special = [], words = [], unknown = null, ...rest }) {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      ...special.map((content) => added(vocab, content, true)),
      ...words.map((content) => added(vocab, content, false)),
    ].sort((a, b) => a.id - b.id),
    normalizer: null,
    pre_tokenizer: byteLevel(),
    post_processor: byteLevel(),
    decoder: byteLevel(true),
    ...rest,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}

/** As the vocabulary of GPT-2 is made: bytes, then merges, then the end of text. */
function likeGpt2() {
  const merges = learnMerges(german, 600);
  const vocab = idsOf([...allBytes, ...formed(merges), '<|endoftext|>']);
  return {
    json: tokenizerJson({ vocab, merges, special: ['<|endoftext|>'] }),
    config: { eos_token: '<|endoftext|>', bos_token: '<|endoftext|>' },
  };
}

/** As RoBERTa's: special tokens first, other tokens in any order, a space in front, special tokens around a text. */
function likeRoberta() {
  const merges = learnMerges(russianAndGreek, 500);
  const special = ['<s>', '<pad>', '</s>', '<unk>'];
  const vocab = idsOf([...special, ...shuffled([...allBytes, ...formed(merges)], 1), '<mask>']);
  return {
    json: tokenizerJson({
      vocab,
      merges: merges.map((merge) => merge.split(' ')),
      special: [...special, '<mask>'],
      pre_tokenizer: byteLevel(true),
      post_processor: {
        type: 'RobertaProcessing',
        sep: ['</s>', vocab['</s>']],
        cls: ['<s>', vocab['<s>']],
        trim_offsets: true,
        add_prefix_space: true,
      },
    }),
    config: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', add_prefix_space: true },
  };
}

/** For source code: tokens for indentation that are always recognised, and a start of text. */
function forCode() {
  const merges = learnMerges(sourceCode().slice(0, 60_000), 1500);
  const special = ['<|end_of_text|>', '<|start|>'];
  const words = ['\n    ', '\n  ', '=>', '[TODO]'];
  const vocab = idsOf([...special, ...allBytes, ...formed(merges), ...words]);
  const start = { SpecialToken: { id: '<|start|>', type_id: 0 } };
  return {
    json: tokenizerJson({
      vocab,
      merges,
      special,
      words,
      post_processor: {
        type: 'TemplateProcessing',
        single: [start, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [start, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: {
          '<|start|>': { id: '<|start|>', ids: [vocab['<|start|>']], tokens: ['<|start|>'] },
        },
      },
    }),
    config: { bos_token: '<|start|>', eos_token: '<|end_of_text|>' },
  };
}

/** Without tokens for the bytes that do not occur in its text. */
function withoutBytes(unknown) {
  const merges = learnMerges(manyScripts, 300);
  const bytes = [...new Set(spelledWords(manyScripts).flat())];
  const special = unknown ? [unknown] : [];
  const vocab = idsOf([...special, ...bytes, ...formed(merges)]);
  return { json: tokenizerJson({ vocab, merges, special, unknown: unknown ?? null }), config: {} };
}

/** With several merges for a token, in any order, some of them twice. */
function inDisorder() {
  const learnt = learnMerges(german + russianAndGreek, 400);
  const tokens = [...allBytes, ...formed(learnt)];
  const known = new Set(tokens);
  const merges = tokens.flatMap((token) => {
    const characters = [...token];
    return characters.slice(1).flatMap((_, at) => {
      const parts = [characters.slice(0, at + 1).join(''), characters.slice(at + 1).join('')];
      return parts.every((part) => known.has(part)) ? [parts.join(' ')] : [];
    });
  });
  const vocab = idsOf(shuffled([...tokens, '</s>'], 2));
  const twice = shuffled([...merges, ...merges.slice(0, 60)], 3);
  return {
    json: tokenizerJson({ vocab, merges: twice, special: ['</s>'] }),
    config: { eos_token: '</s>' },
  };
}

/** By name: the content of tokenizer.json, and that of tokenizer_config.json. */
export const vocabularies = {
  'like GPT-2’s': likeGpt2(),
  'like RoBERTa’s': likeRoberta(),
  'for source code': forCode(),
  'without some bytes': withoutBytes(),
  'with an unknown token for some bytes': withoutBytes('<unk>'),
  'with merges in disorder': inDisorder(),
};

/** Writes tokenizer.json and tokenizer_config.json to a folder. */
export function writeTokenizerJson(folder, { json, config }) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  return folder;
}

/** Writes vocab.json, merges.txt and tokenizer_config.json, which say the same unless the tokenizer has other steps. */
export function writeVocabJson(folder, { json, config }) {
  const { vocab, merges } = json.model;
  const lines = merges.map((merge) => (Array.isArray(merge) ? merge.join(' ') : merge));
  const decoder = Object.fromEntries(json.added_tokens.map(({ id, ...token }) => [id, token]));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'vocab.json'), JSON.stringify(vocab));
  writeFileSync(join(folder, 'merges.txt'), `#version: 0.2\n${lines.join('\n')}\n`);
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ ...config, added_tokens_decoder: decoder }),
  );
  return folder;
}
