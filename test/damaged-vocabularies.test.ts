// Damaged files of vocabularies: loadTokenizer opens them or throws a Gpt2Error.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { convert } from '../dist/index.js';
import { loadTokenizer } from '../dist/tokenizer.js';
import { writeRandomModel } from './checkpoint-folder.js';
import { byteDamage, damageBytes, damageJson, jsonDamage } from './damage.js';
import { fuzzRuns, fuzzTimeout } from './fuzz-runs.js';
import { readGguf } from './gguf-reader.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';
import { vocabularies, writeTokenizerJson } from './vocabularies/vocabularies.mjs';

const root = temporaryFolder();
const vocabulary = vocabularies['with an unknown token for some bytes'];
const small = {
  ...vocabulary.json,
  model: { ...vocabulary.json.model, merges: vocabulary.json.model.merges.slice(0, 40) },
};
const use = async (path: string) => {
  try {
    const tokenizer = await loadTokenizer(path);
    const ids = tokenizer.encode('道 der Weg <unk> 😀', { addSpecial: true });
    expect(ids.every((id) => id < tokenizer.vocabSize)).toBe(true);
    expect(typeof tokenizer.decode(ids)).toBe('string');
  } catch (error) {
    expect((error as Error).name, (error as Error).stack).toBe('Gpt2Error');
    expect((error as { code: string }).code).not.toBe('INTERNAL');
  }
};

test.each(['tokenizer.json', 'tokenizer_config.json'])(
  'damaged: %s',
  { timeout: fuzzTimeout },
  async (name) => {
    const folder = writeTokenizerJson(freshFolder(root), {
      json: small,
      config: vocabulary.config,
    });
    const text = readFileSync(join(folder, name), 'utf8');
    await fc.assert(
      fc.asyncProperty(jsonDamage, async (damage) => {
        writeFileSync(join(folder, name), damageJson(text, damage));
        await use(folder);
      }),
      fuzzRuns(300),
    );
  },
);

test('damaged: a GGUF file', { timeout: fuzzTimeout }, async () => {
  const folder = freshFolder(root);
  const path = join(folder, 'model.gguf');
  const size = Object.keys(small.model.vocab).length;
  writeRandomModel(folder, { vocabulary: size, context: 8, width: 8 });
  await convert(writeTokenizerJson(folder, { json: small, config: {} }), path);
  const { metadataBytes } = readGguf(path);
  const file = readFileSync(path).subarray(0, 24 + metadataBytes.length);
  await fc.assert(
    fc.asyncProperty(fc.array(byteDamage, { minLength: 1, maxLength: 3 }), async (damages) => {
      writeFileSync(path, damages.reduce(damageBytes, file));
      await use(path);
    }),
    fuzzRuns(500),
  );
});
