// OpenAI's weights of 124M parameters, in f32, against known outputs. The variable GPT2_WEIGHTS names their folder; the
// tests are skipped without it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadModel, type Model } from '../dist/index.js';
import { temporaryFolder } from './temporary-folder.js';

const weights = process.env.GPT2_WEIGHTS;

describe.runIf(weights)('the weights of OpenAI', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(weights, { type: 'f32', cacheDir: temporaryFolder() });
  });
  afterAll(() => model?.dispose());

  test('have the published size', () => {
    const { parameterCount, vocabSize } = model.config;
    expect({ parameterCount, vocabSize }).toEqual({
      parameterCount: 124_439_808,
      vocabSize: 50_257,
    });
  });

  // The output that the tests of Hugging Face's transformers expect (tests/models/gpt2/test_modeling_gpt2.py).
  test('continue "The dog" as in transformers', async () => {
    const { tokens } = await model.generate([464, 3290], { maxTokens: 18, temperature: 0 });
    // was found in a field near the intersection of West and West Streets.\n\nThe dog
    expect([...tokens]).toEqual([
      373, 1043, 287, 257, 2214, 1474, 262, 16246, 286, 2688, 290, 2688, 27262, 13, 198, 198, 464,
      3290,
    ]);
  });
});
