// Embeddings of texts, against PyTorch's hidden states in double precision.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EmbedOptions, loadModel, type Model } from '../dist/index.js';
import { failure } from './failure.js';
import { fixtureFolder, readGolden } from './golden.js';
import { numbersOf, readSafetensors } from './safetensors-file.js';
import { temporaryFolder } from './temporary-folder.js';

let model: Model;
let textModel: Model;
const { tokens } = readGolden('head-size-5');

beforeAll(async () => {
  model = await loadModel(fixtureFolder('head-size-5'), {
    ...{ threads: 2, cacheDir: temporaryFolder(), type: 'f32' },
  });
  textModel = await loadModel(undefined, { threads: 1 });
});
afterAll(async () => {
  await model.dispose();
  await textModel.dispose();
});

/** scripts/reference/make_goldens.py: [tokens, embeddingLength] by layer. */
function goldenStates(): number[][] {
  const tensors = readSafetensors(join(__dirname, 'fixtures', 'hidden-states.safetensors'));
  return [0, 1, 2, 3].map((layer) => numbersOf(tensors.get(`layer-${layer}`) as never));
}

function pooled(states: number[], count: number, pooling: string): number[] {
  const width = states.length / tokens.length;
  return Array.from({ length: width }, (_, i) => {
    const column = Array.from({ length: count }, (__, row) => states[row * width + i] as number);
    if (pooling === 'last') return column.at(-1) as number;
    if (pooling === 'max') return Math.max(...column);
    return column.reduce((a, b) => a + b) / count;
  });
}

describe('an embedding', () => {
  const poolings = ['mean', 'last', 'max'] as const;

  test.each([0, 1, 2, 3])('is pooled from the hidden states of layer %i', async (layer) => {
    const states = goldenStates()[layer] as number[];
    for (const count of [1, 7, 33]) {
      for (const pooling of poolings) {
        const input = tokens.slice(0, count);
        const { data, shape } = await model.embed(input, { layer, pooling });
        expect(shape).toEqual([1, 35]);
        const expected = pooled(states, count, pooling);
        for (const [i, value] of expected.entries()) expect(data[i]).toBeCloseTo(value, 4);
      }
    }
  });

  test('is of the last layer by default, and may have the length 1', async () => {
    const plain = await model.embed(tokens);
    expect(plain).toEqual(await model.embed(tokens, { layer: 3, pooling: 'mean' }));
    const { data } = await model.embed(tokens, { normalize: true });
    expect(Math.hypot(...data)).toBeCloseTo(1, 6);
    const length = Math.hypot(...plain.data);
    for (const [i, value] of data.entries()) {
      expect(value * length).toBeCloseTo(plain.data[i] as number, 5);
    }
  });

  test('does not depend on the other texts, to the bit', async () => {
    const texts = Array.from({ length: 40 }, (_, i) => tokens.slice(i % 5, 6 + (i % 20)));
    for (const layer of [1, 3]) {
      const calls = await Promise.all([
        model.embed(texts, { layer }),
        model.embed(texts, { layer: 2, pooling: 'max' }),
        model.score(texts, { startFromEndOfText: false }),
      ]);
      const together = calls[0];
      expect(together.shape).toEqual([40, 35]);
      for (const [i, text] of texts.entries()) {
        const { data } = await model.embed(text, { layer });
        expect(together.data.slice(35 * i, 35 * (i + 1))).toEqual(data);
      }
    }
  });

  test('is of text too', async () => {
    const { data, shape } = await textModel.embed(['The sea', 'A house']);
    expect(shape).toEqual([2, textModel.config.embeddingLength]);
    const { data: alone } = await textModel.embed(textModel.tokenizer.encode('A house'));
    expect(data.slice(shape[1])).toEqual(alone);
    await failure('INVALID_ARGUMENT', () => textModel.embed([])); // no token
  });

  test('refuses wrong arguments', async () => {
    for (const options of [{ layer: 4 }, { layer: -1 }, { pooling: 'sum' }, { normalize: 1 }]) {
      await failure('INVALID_ARGUMENT', () => model.embed(tokens, options as EmbedOptions));
    }
    await failure('UNKNOWN_OPTION', () => model.embed(tokens, { x: 1 } as never));
    await failure('CONTEXT_OVERFLOW', () => model.embed([...tokens, 1]));
    await failure('TOKEN_OUT_OF_RANGE', () => model.embed([[1], [10 ** 6]]));
    await failure('TOKENIZER_MISSING', () => model.embed('text'));
  });
});
