// The checkpoint formats of training programs and publishers. One model in each of them converts to the same GGUF
// file.

import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { beforeAll, describe, expect, test } from 'vitest';
import { publishedHeadCount } from '../dist/checkpoint/checkpoint-config.js';
import { readSortedTable } from '../dist/checkpoint/sorted-table.js';
import { convert, type Gpt2Error, loadModel } from '../dist/index.js';
import {
  type Config,
  f32Tensor,
  readConfig,
  readTensors,
  writeCheckpoint,
} from './checkpoint-folder.js';
import { failure } from './failure.js';
import { type GgufFile, readGguf } from './gguf-reader.js';
import { logitsError, readGolden } from './golden.js';
import { spelledTokens } from './gpt2-vocabulary.js';
import {
  numbersOf,
  readSafetensors,
  type StoredTensor,
  writeSafetensors,
} from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';
import { tensorflowName, writeTensorflow } from './tensorflow-file.js';

const root = temporaryFolder();
const pytorch = join(__dirname, 'fixtures', 'pytorch');
const model = 'odd-heads';

const nanoGpt = join(pytorch, 'nanogpt', 'ckpt.pt');

type Contents = Pick<GgufFile, 'metadata' | 'tensors'>;

/** Converts a checkpoint and returns the contents of the GGUF file, except for the model's name. */
async function converted(source: string): Promise<Contents> {
  const path = join(freshFolder(root), 'model.gguf');
  await convert(source, path);
  const { metadata, tensors } = readGguf(path);
  metadata.delete('general.name');
  return { metadata, tensors };
}

async function rejection(source: string): Promise<Gpt2Error> {
  return await convert(source, join(freshFolder(root), 'never.gguf')).then(
    () => expect.fail('it was converted'),
    (error) => error,
  );
}

let expected: unknown;
beforeAll(async () => {
  const folder = writeCheckpoint(freshFolder(root), readConfig(model), readTensors(model));
  // Not every format stores the end-of-text token.
  const config = readConfig(model);
  delete config.eos_token_id;
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  expected = await converted(folder);
});

/** Copies a fixture without the end-of-text token in its config. */
function withoutEndOfText(folder: string): string {
  const copy = freshFolder(root);
  cpSync(folder, copy, { recursive: true });
  const path = join(copy, 'config.json');
  const config: Config = JSON.parse(readFileSync(path, 'utf8'));
  delete config.eos_token_id;
  writeFileSync(path, JSON.stringify(config));
  return copy;
}

describe('files written by torch.save()', () => {
  test.each(['zip', 'legacy', 'sharded'])('in the format "%s"', async (form) => {
    expect(await converted(withoutEndOfText(join(pytorch, form)))).toEqual(expected);
  });

  test('by nanoGPT: a compiled model with its settings and optimizer state', async () => {
    const { metadata, tensors } = expected as Contents;
    for (const source of [nanoGpt, join(pytorch, 'nanogpt')]) {
      const found = await converted(source);
      expect(found.tensors).toEqual(tensors);
      // Since 2023 nanoGPT computes GELU in the erf form.
      expect(found.metadata.get('gpt2_native.activation_function')).toBe('gelu');
      for (const key of ['gpt2_native.activation_function', 'general.description']) {
        found.metadata.delete(key);
      }
      expect(found.metadata).toEqual(metadata);
    }
  });

  test('by nanoGPT, with a config.json that states the activation', async () => {
    const folder = freshFolder(root);
    cpSync(join(pytorch, 'nanogpt'), folder, { recursive: true });
    const path = join(folder, 'config.json');
    writeFileSync(path, JSON.stringify({ activation_function: 'gelu_new' }));
    expect(await converted(folder)).toEqual(expected);
    writeFileSync(path, JSON.stringify({ activation_function: 'mish' }));
    const error = await rejection(folder);
    expect(error.code).toBe('UNSUPPORTED_MODEL');
    expect(error.message).toMatch(
      /config\.json: expected activation_function to be .* found "mish"/,
    );
  });

  test('by "Build a Large Language Model (From Scratch)": separate, column-major q, k and v', async () => {
    expect(await converted(join(pytorch, 'from-scratch'))).toEqual(expected);
  });

  test.each(['nanogpt/ckpt.pt', 'from-scratch/model.pth'])(
    '%s gives the reference logits',
    async (file) => {
      const { tokens, logits, vocabSize } = readGolden(model);
      const erf = readSafetensors(join(__dirname, 'fixtures', 'activations.safetensors')).get(
        `${model}.gelu`,
      ) as StoredTensor;
      const reference = file.startsWith('nanogpt') ? Float32Array.from(numbersOf(erf)) : logits;
      await using loaded = await loadModel(join(pytorch, file), { cacheDir: root });
      const { data } = await loaded.logits(tokens, { positions: 'all' });
      expect(logitsError(data, reference, vocabSize).max).toBeLessThan(2e-5);
    },
  );

  test('are rejected if they call a function that only an attack needs', async () => {
    const error = await rejection(join(pytorch, 'harmful.pt'));
    expect(error.code).toBe('UNSUPPORTED_MODEL');
    expect(error.message).toMatch(/harmful\.pt: it calls posix\.system.*\(it was not executed\)/);
  });

  test('are rejected if they are truncated', async () => {
    for (const form of ['zip', 'legacy']) {
      const folder = withoutEndOfText(join(pytorch, form));
      const path = join(folder, 'pytorch_model.bin');
      const whole = readFileSync(path);
      for (let length = 4; length < whole.length; length += Math.ceil(whole.length / 40)) {
        writeFileSync(path, whole.subarray(0, length));
        expect((await rejection(folder)).code).toBe('INVALID_FILE');
      }
    }
  });
});

describe("PyTorch's linear layers in safetensors", () => {
  test('with a vocabulary padded to 50,304 get GPT-2’s vocabulary', async () => {
    const config = {
      vocab_size: 50_304,
      context_length: 8,
      emb_dim: 4,
      n_heads: 2,
      n_layers: 1,
      drop_rate: 0.1,
      qkv_bias: false,
    };
    const tensors = fromScratchTensors(config);
    const folder = writeCheckpoint(freshFolder(root), config, tensors);
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    const { metadata } = readGguf(path);
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    expect(tokens.slice(0, 50_257)).toEqual(spelledTokens());
    expect(tokens.slice(50_257)).toEqual(
      Array.from({ length: 47 }, (_, i) => `[PAD${50_257 + i}]`),
    );
    await using loaded = await loadModel(path);
    expect(loaded.tokenizer.encode('Hello world')).toEqual(Uint32Array.of(15496, 995));
    expect(loaded.config.parameterCount).toBe(countOf(tensors));
    const { shape } = await loaded.logits('Hello');
    expect(shape).toEqual([1, 50_304]);
  });

  /** Writes weights without a config. */
  function withoutConfig(tensors: ReadonlyMap<string, StoredTensor>): string {
    const folder = freshFolder(root);
    mkdirSync(folder, { recursive: true });
    writeSafetensors(join(folder, 'model.safetensors'), tensors);
    return folder;
  }
  // A width that heads of 64 would divide.
  const dictionary = { vocab_size: 11, context_length: 8, emb_dim: 128, n_layers: 2 };

  test('without a config are rejected unless headCount is given', async () => {
    const folder = withoutConfig(fromScratchTensors(dictionary));
    for (const source of [folder, join(folder, 'model.safetensors')]) {
      const error = await rejection(source);
      expect(error.code).toBe('UNSUPPORTED_MODEL');
      expect(error.message).toMatch(
        /there is no config\.json .* 2 layers of a width of 128; put a config\.json beside the weights, or pass the option headCount/,
      );
    }
    for (const headCount of [4, 2]) {
      // The cache holds one conversion for each head count.
      await using loaded = await loadModel(folder, { cacheDir: root, headCount });
      expect(loaded.config).toMatchObject({
        vocabSize: 11,
        contextLength: 8,
        headCount,
        layerCount: 2,
      });
      const { data } = await loaded.logits([1, 2, 3]);
      const config = { ...dictionary, n_heads: headCount };
      const stated = writeCheckpoint(freshFolder(root), config, fromScratchTensors(dictionary));
      await using other = await loadModel(stated, { cacheDir: root });
      expect(data).toEqual((await other.logits([1, 2, 3])).data);
    }
    const error = await failure('INVALID_FILE', () =>
      loadModel(folder, { cacheDir: root, headCount: 3 }),
    );
    expect(error.message).toMatch(/128 is not a multiple of n_heads 3/);
  });

  test("in Hugging Face's layout, weights without a config open with headCount", async () => {
    const folder = withoutConfig(readTensors(model));
    const error = await rejection(folder);
    expect(error.code).toBe('FILE_NOT_FOUND');
    expect(error.message).toMatch(/there is no config\.json .* headCount/);
    const { tokens, logits, vocabSize } = readGolden(model);
    await using loaded = await loadModel(folder, { cacheDir: root, headCount: 8 });
    const { data } = await loaded.logits(tokens, { positions: 'all' });
    expect(logitsError(data, logits, vocabSize).max).toBeLessThan(2e-5);
  });

  test('a headCount that contradicts the model is rejected', async () => {
    const config = { ...dictionary, n_heads: 4 };
    const folder = writeCheckpoint(freshFolder(root), config, fromScratchTensors(dictionary));
    const path = join(folder, 'model.gguf');
    await convert(folder, path, { headCount: 4 });
    await (await loadModel(path, { headCount: 4 })).dispose();
    for (const source of [folder, path]) {
      const call = () => loadModel(source, { cacheDir: root, headCount: 2 });
      const error = await failure('INVALID_ARGUMENT', call);
      expect(error.message).toMatch(/expected headCount to be 4, .* but received 2/);
    }
  });

  test('only the published sizes are recognised by their shapes', () => {
    const heads = (width: number, layers: number) => publishedHeadCount(width, layers);
    expect([heads(768, 12), heads(768, 6), heads(1024, 24)]).toEqual([12, 12, 16]);
    expect([heads(1280, 36), heads(1600, 48)]).toEqual([20, 25]);
    for (const width of [64, 768, 1024, 1280, 1536, 1600]) expect(heads(width, 8)).toBeUndefined();
  });
});

interface Dictionary {
  vocab_size: number;
  context_length: number;
  emb_dim: number;
  n_layers: number;
}

function countOf(tensors: ReadonlyMap<string, StoredTensor>): number {
  return [...tensors.values()].reduce((sum, { bytes }) => sum + bytes.length / 4, 0);
}

/** A model of "Build a Large Language Model (From Scratch)" with qkv_bias false. The weights are arbitrary. */
function fromScratchTensors(config: Dictionary): Map<string, StoredTensor> {
  const { vocab_size, context_length, emb_dim: width, n_layers } = config;
  let next = 0;
  const tensor = (...shape: number[]) => {
    const count = shape.reduce((product, extent) => product * extent, 1);
    return f32Tensor(
      shape,
      Array.from({ length: count }, () => Math.sin(next++) / 10),
    );
  };
  const tensors = new Map([
    ['tok_emb.weight', tensor(vocab_size, width)],
    ['pos_emb.weight', tensor(context_length, width)],
    ['final_norm.scale', tensor(width)],
    ['final_norm.shift', tensor(width)],
    ['out_head.weight', tensor(vocab_size, width)],
  ]);
  for (let i = 0; i < n_layers; i++) {
    const add = (name: string, ...shape: number[]) => {
      tensors.set(`trf_blocks.${i}.${name}`, tensor(...shape));
    };
    for (const name of ['W_query', 'W_key', 'W_value', 'out_proj']) {
      add(`att.${name}.weight`, width, width);
    }
    add('att.out_proj.bias', width);
    add('ff.layers.0.weight', 4 * width, width);
    add('ff.layers.0.bias', 4 * width);
    add('ff.layers.2.weight', width, 4 * width);
    add('ff.layers.2.bias', width);
    for (const norm of ['norm1', 'norm2']) {
      add(`${norm}.scale`, width);
      add(`${norm}.shift`, width);
    }
  }
  return tensors;
}

describe("OpenAI's release", () => {
  const hparams = (config: Config) => ({
    n_vocab: config.vocab_size,
    n_ctx: config.n_positions,
    n_embd: config.n_embd,
    n_head: config.n_head,
    n_layer: config.n_layer,
  });

  /** The tensors under TensorFlow's names, where linear layers have the shape [1, in, out]. */
  function tensorflowTensors(): Map<string, StoredTensor> {
    return new Map(
      [...readTensors(model)].map(([name, tensor]) => {
        const path = tensorflowName(name);
        const shape = path.endsWith('/w') ? [1, ...tensor.shape] : tensor.shape;
        return [path, { ...tensor, shape }];
      }),
    );
  }

  function writeRelease(options = {}): string {
    const folder = freshFolder(root);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'hparams.json'), JSON.stringify(hparams(readConfig(model))));
    writeFileSync(join(folder, 'checkpoint'), 'model_checkpoint_path: "model.ckpt"\n');
    writeTensorflow(join(folder, 'model.ckpt'), tensorflowTensors(), options);
    return folder;
  }

  test('opens as a folder or by its index', async () => {
    const folder = writeRelease();
    expect(await converted(folder)).toEqual(expected);
    expect(await converted(join(folder, 'model.ckpt.index'))).toEqual(expected);
  });

  test('opens with several data files and one block', async () => {
    expect(await converted(writeRelease({ shards: 3, entriesPerBlock: 100 }))).toEqual(expected);
  });

  test('gets its vocabulary from encoder.json and vocab.bpe', async () => {
    const folder = writeRelease();
    const ids = Object.fromEntries(Array.from({ length: 97 }, (_, id) => [`t${id}`, id]));
    writeFileSync(join(folder, 'encoder.json'), JSON.stringify(ids));
    writeFileSync(join(folder, 'vocab.bpe'), '#version: 0.2\nt 1\n');
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    const { metadata } = readGguf(path);
    expect(metadata.get('tokenizer.ggml.tokens')).toEqual(Object.keys(ids));
    expect(metadata.get('tokenizer.ggml.merges')).toEqual(['t 1']);
  });

  test('is rejected if a file is missing', async () => {
    for (const name of ['hparams.json', 'model.ckpt.data-00000-of-00001']) {
      const folder = writeRelease();
      rmSync(join(folder, name));
      const error = await rejection(folder);
      expect(error.code).toBe('FILE_NOT_FOUND');
      expect(error.message).toContain(name);
    }
  });

  test('is rejected if its data is truncated', async () => {
    const folder = writeRelease();
    const data = join(folder, 'model.ckpt.data-00000-of-00001');
    writeFileSync(data, readFileSync(data).subarray(0, -1));
    const error = await rejection(folder);
    expect(error.code).toBe('INVALID_FILE');
    expect(error.message).toMatch(/model\.ckpt\.index: the tensor "model\//);
  });
});

test('sorted tables written by LevelDB are read, compressed or not', async () => {
  const numbers = Array.from({ length: 3000 }, (_, i) => i);
  const pairs = numbers.map((i): [string, string] => [
    `model/h${i}/attn/c_attn/w`,
    `${i} `.repeat(1 + (i % 40)) + Math.sin(i),
  ]);
  const sizes: number[] = [];
  for (const compression of [true, false]) {
    const folder = freshFolder(root);
    const level = new ClassicLevel(folder, { compression });
    await level.batch(pairs.map(([key, value]) => ({ type: 'put', key, value })));
    await level.compactRange('\0', '\uffff');
    await level.close();
    const tables = readdirSync(folder).filter((name) => name.endsWith('.ldb'));
    const entries = tables.flatMap((name) => readSortedTable(readFileSync(join(folder, name))));
    // LevelDB's internal keys end in 8 bytes of sequence number and type, which are not always UTF-8.
    const found = new Map(
      entries.map(([key, value]) => [key.replace(/(\/w).*$/s, '$1'), value.toString()]),
    );
    expect(found).toEqual(new Map(pairs));
    sizes.push(tables.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0));
  }
  const [compressed, plain] = sizes as [number, number];
  expect(compressed).toBeLessThan(plain / 2);
});

describe('folders', () => {
  test('with several PyTorch files are rejected', async () => {
    const folder = freshFolder(root);
    mkdirSync(folder, { recursive: true });
    cpSync(join(pytorch, 'nanogpt', 'ckpt.pt'), join(folder, 'a.pt'));
    cpSync(join(pytorch, 'nanogpt', 'ckpt.pt'), join(folder, 'b.pt'));
    const error = await rejection(folder);
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toMatch(/found a\.pt, b\.pt; pass the path of one of them/);
  });

  test('without weights are rejected', async () => {
    const folder = freshFolder(root);
    mkdirSync(folder, { recursive: true });
    const error = await rejection(folder);
    expect(error.code).toBe('FILE_NOT_FOUND');
    expect(error.message).toMatch(/there is no checkpoint in this folder/);
  });

  test('may hold weights under any name if the file is given', async () => {
    const folder = freshFolder(root);
    mkdirSync(folder, { recursive: true });
    cpSync(join(pytorch, 'nanogpt', 'ckpt.pt'), join(folder, 'weights.data'));
    await using loaded = await loadModel(join(folder, 'weights.data'), { cacheDir: root });
    expect(loaded.config.vocabSize).toBe(97);
  });
});
