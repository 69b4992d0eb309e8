import { stat } from 'node:fs/promises';
import { readVocabulary } from './checkpoint/vocabulary.js';
import { Gpt2Error } from './errors.js';
import { reading } from './files.js';
import { readGgufVocabulary } from './gguf/gguf-vocabulary.js';
import { PlainFile, readPlainText } from './plain-file.js';
import { checkSource, type UrlLike } from './source.js';
import type { Tokenizer } from './tokenizer/tokenizer.js';
import type { Vocabulary } from './tokenizer/vocabulary.js';
import { tokenizerOf } from './tokenizer/vocabulary-tokenizer.js';

/**
 * Opens the tokenizer of a model, without its weights and without the addon.
 *
 * @param source a checkpoint's folder, with vocab.json and merges.txt or tokenizer.json, or the path of a GGUF file
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE, INVALID_ARGUMENT, OUT_OF_MEMORY; TOKENIZER_MISSING if the
 *   tokenizer is not byte-level BPE with GPT-2's pattern
 * @example
 * const tokenizer = await loadTokenizer('./my-gpt2');
 * tokenizer.count('Hello world');
 */
export async function loadTokenizer(source: string | UrlLike): Promise<Tokenizer> {
  const path = checkSource('the source', source);
  const found = await reading(path, async () => await stat(path));
  const vocabulary = found.isDirectory()
    ? await readVocabulary(path, undefined, readPlainText)
    : await vocabularyInFile(path);
  if (vocabulary === undefined) {
    throw new Gpt2Error(
      'FILE_NOT_FOUND',
      `${path}: expected vocab.json and merges.txt, or tokenizer.json, in this folder`,
    );
  }
  const tokenizer =
    typeof vocabulary === 'string'
      ? vocabulary
      : await tokenizerOf(vocabulary.tokens.length, vocabulary);
  if (typeof tokenizer !== 'string') return tokenizer;
  throw new Gpt2Error(
    'TOKENIZER_MISSING',
    `${path}: text cannot be encoded with this tokenizer: ${tokenizer}`,
  );
}

async function vocabularyInFile(path: string): Promise<Vocabulary | string> {
  const file = await PlainFile.open(path);
  try {
    return await readGgufVocabulary(file);
  } finally {
    await file.close();
  }
}
