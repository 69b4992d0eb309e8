import { InputFile } from './input-file.js';
import type { NativeModelDescription } from './native/types.js';
import { gpt2TokenizerFor, MissingTokenizer, type Tokenizer } from './tokenizer/tokenizer.js';
import { leftOutKey, settingsIn } from './tokenizer/tokenizer-metadata.js';

/**
 * The tokenizer of a model. GPT-2's own is recognised by the engine's summary of the vocabulary; any other vocabulary is
 * read from the file.
 *
 * @throws INVALID_FILE, FILE_UNREADABLE
 */
export async function modelTokenizer(
  path: string,
  { vocabSize, vocabulary, tokenizerSettings }: NativeModelDescription,
  signal: AbortSignal | undefined,
): Promise<Tokenizer> {
  const metadata = new Map(tokenizerSettings);
  if (!vocabulary) {
    const reason =
      metadata.get(leftOutKey) ??
      'its file holds no vocabulary (a checkpoint folder needs vocab.json and merges.txt, or tokenizer.json, of byte-level BPE with ids that the model has)';
    return new MissingTokenizer(vocabSize, String(reason));
  }
  const gpt2 = gpt2TokenizerFor(vocabSize, vocabulary, settingsIn(metadata, vocabSize));
  if (gpt2) return gpt2;
  const { readGgufVocabulary, tokenizerOf } = vocabularyReader();
  const file = await InputFile.open(path, signal);
  try {
    const read = await readGgufVocabulary(file, vocabSize);
    const tokenizer = typeof read === 'string' ? read : await tokenizerOf(vocabSize, read);
    return typeof tokenizer === 'string' ? new MissingTokenizer(vocabSize, tokenizer) : tokenizer;
  } finally {
    file.close();
  }
}

// Loaded on demand, since GPT-2's vocabulary does not need it.
function vocabularyReader() {
  return {
    ...(require('./gguf/gguf-vocabulary.js') as typeof import('./gguf/gguf-vocabulary.js')),
    ...(require('./tokenizer/vocabulary-tokenizer.js') as typeof import('./tokenizer/vocabulary-tokenizer.js')),
  };
}
