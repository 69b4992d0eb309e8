import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseJsonObject } from '../dist/files.js';
import { matrixType } from '../dist/gguf/model-file.js';
import {
  convert,
  type ErrorCode,
  type LoadOptions,
  type LoadProgress,
  loadModel,
} from '../dist/index.js';
import {
  type Config,
  changedFixture,
  f32Tensor,
  readConfig,
  readTensors,
  writeCheckpoint,
  writeTextCheckpoint,
} from './checkpoint-folder.js';
import { failure } from './failure.js';
import { ggufNumbers, plainTypes, readGguf } from './gguf-reader.js';
import {
  type FixtureName,
  fixtureFolder,
  fixtureNames,
  logitsError,
  readGolden,
} from './golden.js';
import { mergesTxt, spelledTokens } from './gpt2-vocabulary.js';
import { runNode } from './node-process.js';
import { numbersOf, type StoredTensor, writeRawSafetensors } from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const loading = { cacheDir: join(root, 'cache'), threads: 1 };

/** Expects a model to produce the golden logits of a fixture. */
async function expectGolden(path: string, name: FixtureName, options: LoadOptions = {}) {
  const { tokens, logits, vocabSize } = readGolden(name);
  await using model = await loadModel(path, { ...loading, ...options });
  const { data } = await model.logits(tokens, { positions: 'all' });
  expect(logitsError(data, logits, vocabSize).max).toBeLessThan(2e-5);
}

async function convertedWide(): Promise<string> {
  const path = join(freshFolder(root), 'wide.gguf');
  await convert(fixtureFolder('wide'), path);
  return path;
}

/** The name in the checkpoint of a GGUF tensor. */
function sourceName(name: string): string {
  const names: Record<string, string> = {
    token_embd: 'wte',
    position_embd: 'wpe',
    output_norm: 'ln_f',
    output: 'lm_head',
    attn_norm: 'ln_1',
    attn_qkv: 'attn.c_attn',
    attn_output: 'attn.c_proj',
    ffn_norm: 'ln_2',
    ffn_up: 'mlp.c_fc',
    ffn_down: 'mlp.c_proj',
  };
  const [, layer, part, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(\w+)$/.exec(name) ?? [];
  return `${layer === undefined ? '' : `h.${layer}.`}${names[part ?? '']}.${kind}`;
}

describe('the written file, read by an independent reader,', () => {
  test.each(fixtureNames)(
    'holds the weights of %s, with linear layers transposed',
    async (name) => {
      const path = join(freshFolder(root), 'model.gguf');
      await convert(fixtureFolder(name), path);
      const { version, metadata, tensors, dataStart } = readGguf(path);
      const config = readConfig(name);
      const sources = new Map(
        [...readTensors(name)].map(([source, tensor]) => [
          source.replace(/^transformer\./, ''),
          tensor,
        ]),
      );
      const absent = (metadata.get('gpt2_native.absent_biases') ?? []) as string[];

      expect(version).toBe(3);
      expect(dataStart % 32).toBe(0);
      expect(statSync(path).size % 32).toBe(0);
      let end = 0;
      for (const [ggufName, tensor] of tensors) {
        // Tensors are contiguous, each aligned to 32 bytes.
        expect(tensor.offset).toBe(Math.ceil(end / 32) * 32);
        end = tensor.offset + tensor.bytes.length;

        const numbers = ggufNumbers(tensor);
        const source = sources.get(sourceName(ggufName));
        if (!source) {
          expect(absent).toContain(ggufName);
          expect(plainTypes[tensor.type]).toBe('F32');
          expect(numbers.every((number) => number === 0)).toBe(true);
          continue;
        }
        expect(absent).not.toContain(ggufName);
        const isVector = source.shape.length === 1;
        const isTable = /^(token_embd|position_embd|output)\.weight$/.test(ggufName);
        expect(plainTypes[tensor.type]).toBe(isVector ? 'F32' : source.dtype);
        const [rows = 1, columns = 1] = source.shape;
        // In ggml's order, tables are [columns, rows]. Linear layers were [in, out] and become out rows of [in].
        expect(tensor.shape).toEqual(
          isVector ? [rows] : isTable ? [columns, rows] : [rows, columns],
        );
        const original = numbersOf(source);
        const expected = isVector || isTable ? original : transposed(original, rows, columns);
        // Compared as bytes, since there are millions of elements.
        expect(Buffer.compare(bytesOf(numbers), bytesOf(expected))).toBe(0);
        sources.delete(sourceName(ggufName));
      }
      // Only masks and the copy of a tied head are left out.
      const left = [...sources.keys()].filter((source) => !/attn\.(masked_)?bias$/.test(source));
      expect(left).toEqual(name === 'head-size-5' ? ['lm_head.weight'] : []);

      expect(Object.fromEntries(metadata)).toMatchObject({
        'general.architecture': 'gpt2',
        'general.name': name,
        'gpt2.context_length': config.n_positions,
        'gpt2.embedding_length': config.n_embd,
        'gpt2.feed_forward_length': config.n_inner ?? 4 * (config.n_embd as number),
        'gpt2.block_count': config.n_layer,
        'gpt2.attention.head_count': config.n_head,
        'gpt2.attention.layer_norm_epsilon': Math.fround(config.layer_norm_epsilon as number),
        'gpt2.vocab_size': config.vocab_size,
        'tokenizer.ggml.model': 'no_vocab',
        'tokenizer.ggml.bos_token_id': config.eos_token_id,
        'tokenizer.ggml.eos_token_id': config.eos_token_id,
      });
    },
  );

  test('rounds to q8_0 within half a quantisation step', async () => {
    const path = join(freshFolder(root), 'model.gguf');
    await convert(fixtureFolder('wide'), path, { type: 'q8_0' });
    const { tensors, metadata } = readGguf(path);
    const sources = readTensors('wide');
    expect(metadata.get('general.file_type')).toBe(7);
    expect(metadata.get('general.quantization_version')).toBe(2);
    for (const name of ['token_embd.weight', 'blk.1.ffn_down.weight']) {
      const tensor = tensors.get(name);
      const source = sources.get(sourceName(name)) as StoredTensor;
      expect(tensor?.type).toBe(8);
      const [rows, columns] = source.shape as [number, number];
      const original = name.startsWith('token')
        ? numbersOf(source)
        : transposed(numbersOf(source), rows, columns);
      const written = ggufNumbers(tensor as NonNullable<typeof tensor>);
      const tooFar: number[] = [];
      for (let block = 0; block < original.length; block += 32) {
        const largest = Math.max(...original.slice(block, block + 32).map(Math.abs));
        // The step is largest / 127, rounded to f16.
        const bound = (largest / 127) * 0.5 + largest * 2 ** -11;
        for (let i = block; i < block + 32; i++) {
          if (!(Math.abs((written[i] as number) - (original[i] as number)) <= bound))
            tooFar.push(i);
        }
      }
      expect(tooFar).toEqual([]);
    }
  });

  test('holds the vocabulary: tokens, merges and the end-of-text token', async () => {
    const folder = freshFolder(root);
    await convert(writeTextCheckpoint(join(folder, 'text')), join(folder, 'text.gguf'));
    const { metadata } = readGguf(join(folder, 'text.gguf'));
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    const merges = metadata.get('tokenizer.ggml.merges') as string[];
    const kinds = metadata.get('tokenizer.ggml.token_type') as number[];
    expect(metadata.get('tokenizer.ggml.model')).toBe('gpt2');
    expect(metadata.get('tokenizer.ggml.pre')).toBe('gpt-2');
    expect(tokens).toEqual(spelledTokens());
    expect(merges).toEqual(mergesTxt().trimEnd().split('\n').slice(1));
    expect(merges.slice(0, 3)).toEqual(['Ġ t', 'Ġ a', 'h e']);
    expect(merges.at(-1)).toBe('Ġg azed');
    expect(kinds).toHaveLength(50257);
    expect(kinds[50256]).toBe(3);
    expect(kinds.slice(0, 50256).every((kind) => kind === 1)).toBe(true);
    expect(metadata.get('tokenizer.ggml.bos_token_id')).toBe(50256);
    expect(metadata.get('tokenizer.ggml.eos_token_id')).toBe(50256);
    expect(metadata.has('gpt2.vocab_size')).toBe(false);
  });
});

describe('checkpoints:', () => {
  test('one file or shards, with or without the prefix, give the same model', async () => {
    const folder = freshFolder(root);
    const single = changedFixture(join(folder, 'f16-sharded'), 'f16-sharded', {});
    const prefixed = changedFixture(join(folder, 'prefixed', 'f16-sharded'), 'f16-sharded', {
      change: (tensors) => {
        for (const [name, tensor] of [...tensors]) {
          tensors.delete(name);
          tensors.set(`transformer.${name}`, tensor);
        }
      },
    });
    const files = [fixtureFolder('f16-sharded'), single, prefixed];
    for (const [i, source] of files.entries()) await convert(source, join(folder, `${i}.gguf`));
    const [sharded, ...others] = files.map((_, i) => readFileSync(join(folder, `${i}.gguf`)));
    for (const other of others) expect(other.equals(sharded as Buffer)).toBe(true);
  });

  test('mask buffers of any type are ignored', async () => {
    const folder = changedFixture(freshFolder(root), 'odd-heads', {
      change: (tensors) => {
        tensors.set('h.0.attn.bias', {
          dtype: 'U8',
          shape: [1, 1, 40, 40],
          bytes: Buffer.alloc(1600),
        });
        tensors.set('h.1.attn.masked_bias', f32Tensor([], [-1e4]));
      },
    });
    await expectGolden(folder, 'odd-heads');
  });

  test('a head that is a copy of the embedding is dropped', async () => {
    const path = join(freshFolder(root), 'model.gguf');
    await convert(fixtureFolder('head-size-5'), path);
    expect(readGguf(path).tensors.has('output.weight')).toBe(false);
    await using model = await loadModel(path, loading);
    expect(model.config.headIsTied).toBe(true);
  });

  test('an untied head is kept, whether or not the config mentions it', async () => {
    const silent = changedFixture(freshFolder(root), 'own-head-no-bias', {
      config: { tie_word_embeddings: undefined },
    });
    for (const folder of [fixtureFolder('own-head-no-bias'), silent]) {
      await expectGolden(folder, 'own-head-no-bias');
      await using model = await loadModel(folder, loading);
      expect(model.config.headIsTied).toBe(false);
    }
  });

  test('absent biases are written as zeros and listed in the metadata', async () => {
    const path = join(freshFolder(root), 'model.gguf');
    await convert(fixtureFolder('own-head-no-bias'), path);
    const { metadata, tensors } = readGguf(path);
    const names = [
      'blk.0.attn_qkv.bias',
      'blk.1.attn_qkv.bias',
      'blk.1.ffn_up.bias',
      'output_norm.bias',
    ];
    expect((metadata.get('gpt2_native.absent_biases') as string[]).sort()).toEqual(names);
    for (const name of names) {
      expect(tensors.get(name)?.bytes.every((byte) => byte === 0)).toBe(true);
    }
    await expectGolden(path, 'own-head-no-bias');

    // They do not count as parameters.
    const present = [...readTensors('own-head-no-bias').values()];
    const count = present.reduce((sum, { bytes }) => sum + bytes.length / 4, 0);
    await using model = await loadModel(path, loading);
    expect(model.config.parameterCount).toBe(count);
  });

  test('tensors may have several types in one checkpoint', async () => {
    const folder = changedFixture(freshFolder(root), 'bf16', {
      change: (tensors) => {
        // The conversion is exact: bfloat16 is the upper half of float32.
        const narrow = tensors.get('h.0.mlp.c_fc.weight') as StoredTensor;
        tensors.set('h.0.mlp.c_fc.weight', f32Tensor(narrow.shape, numbersOf(narrow)));
      },
    });
    await expectGolden(folder, 'bf16', { type: 'f32' });
  });

  test('omitted settings default to those of Hugging Face’s GPT2Config', async () => {
    const { n_embd, n_head, n_layer, vocab_size, n_positions } = readConfig('odd-heads');
    const folder = writeCheckpoint(
      freshFolder(root),
      { n_embd, n_head, n_layer, vocab_size, n_positions },
      readTensors('odd-heads'),
    );
    await expectGolden(folder, 'odd-heads');
  });
});

describe('a config.json', () => {
  const { n_embd, n_head, n_layer, n_positions, n_ctx: _, ...others } = readConfig('odd-heads');

  /** Writes the fixture with this text as its config. */
  function withConfig(text: string): string {
    const folder = changedFixture(freshFolder(root), 'odd-heads', {});
    writeFileSync(join(folder, 'config.json'), text);
    return folder;
  }

  test('may use the other names of Hugging Face', async () => {
    const config = {
      ...others,
      hidden_size: n_embd,
      num_attention_heads: n_head,
      num_hidden_layers: n_layer,
      max_position_embeddings: n_positions,
    };
    await expectGolden(withConfig(JSON.stringify(config)), 'odd-heads');
  });

  test('may nest lists as deeply as a hostile file likes', async () => {
    const folder = changedFixture(freshFolder(root), 'odd-heads', {});
    const config = readFileSync(join(folder, 'config.json'), 'utf8').trimEnd();
    const nested = '['.repeat(100_000) + ']'.repeat(100_000);
    writeFileSync(join(folder, 'config.json'), `${config.slice(0, -1)}, "unused": ${nested}}`);
    await expectGolden(folder, 'odd-heads');
  });

  test('may write numbers and booleans as text', async () => {
    const config = Object.fromEntries(
      Object.entries(readConfig('odd-heads')).map(([name, value]) => [
        name,
        typeof value === 'number' || typeof value === 'boolean' ? String(value) : value,
      ]),
    );
    expect(config).toMatchObject({ n_head: '8', layer_norm_epsilon: '0.00001' });
    await expectGolden(withConfig(JSON.stringify(config)), 'odd-heads');
    await expectGolden(
      withConfig(JSON.stringify({ ...config, layer_norm_epsilon: '1e-05' })),
      'odd-heads',
    );
  });

  test('may contain NaN and infinities, as Python writes them', async () => {
    const odd =
      '"note": "NaN, -Infinity and \\"Infinity\\"", "a": NaN, "b": [Infinity, -Infinity], "NaN": {"c": NaN}';
    const text = JSON.stringify(readConfig('odd-heads'));
    await expectGolden(withConfig(`{${odd}, ${text.slice(1)}`), 'odd-heads');
    const path = join(root, 'any.json');
    expect(parseJsonObject(path, `{${odd}}`)).toEqual({
      note: 'NaN, -Infinity and "Infinity"',
      a: Number.NaN,
      b: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
      NaN: { c: Number.NaN },
    });
    for (const wrong of [
      '{"a": -NaN}',
      '{"a": NaN',
      '{NaN: 1}',
      '{"a": Infinity1}',
      '{"a": nan}',
    ]) {
      expect(() => parseJsonObject(path, wrong)).toThrow(/it is not JSON/);
    }
    // In a setting that counts they are refused.
    for (const [value, shown] of [
      ['NaN', 'NaN'],
      ['Infinity', 'Infinity'],
    ]) {
      const folder = withConfig(text.replace('"n_head":8', `"n_head":${value}`));
      const error = await failure('INVALID_FILE', () => loadModel(folder, loading));
      expect(error.message).toContain(`found ${shown}`);
    }
  });
});

describe('an unsupported setting is rejected by name:', () => {
  test.each<[Config]>([
    [{ model_type: 'gpt_neo' }],
    [{ model_type: 'llama' }],
    [{ activation_function: 'quick_gelu' }],
    [{ activation_function: 'gelu_10' }],
    [{ activation_function: 1 }],
    [{ scale_attn_by_inverse_layer_idx: 2 }],
    [{ scale_attn_weights: 0.5 }],
    [{ add_cross_attention: true }],
    [{ is_encoder_decoder: true }],
    [{ quantization_config: { bits: 4 } }],
  ])('%j', async (config) => {
    const folder = changedFixture(freshFolder(root), 'odd-heads', { config });
    const [setting] = Object.keys(config);
    const target = join(folder, 'model.gguf');
    for (const call of [() => convert(folder, target), () => loadModel(folder, loading)]) {
      const { message } = await failure('UNSUPPORTED_MODEL', call);
      expect(message).toContain(join(folder, 'config.json'));
      expect(message).toContain(`expected ${setting} to be`);
    }
    expect(existsSync(target)).toBe(false);
  });

  test('but settings with GPT-2’s own values are accepted', async () => {
    const config = {
      activation_function: 'gelu_pytorch_tanh',
      reorder_and_upcast_attn: true, // the same function in f32
      quantization_config: null,
      add_cross_attention: false,
      is_encoder_decoder: false,
    };
    await expectGolden(changedFixture(freshFolder(root), 'odd-heads', { config }), 'odd-heads');
  });
});

describe('an invalid config.json is rejected:', () => {
  test.each<[Config, RegExp]>([
    [{ n_embd: 25 }, /n_embd 25 is not a multiple of n_head 8/],
    [{ n_head: 0 }, /n_head .*found 0/],
    [{ n_layer: 1.5 }, /n_layer .*found 1.5/],
    [{ n_layer: -1 }, /n_layer .*found -1/],
    [{ n_layer: 2 ** 30 }, /expected 1073741824 layers but found only 28 tensors/],
    [{ vocab_size: '97x' }, /vocab_size .*found "97x"/],
    [{ vocab_size: '' }, /vocab_size .*found ""/],
    // Hugging Face's defaults, which do not fit the weights.
    [{ vocab_size: undefined }, /"wte.weight" to have the shape \[50257, 24\]/],
    [{ n_positions: undefined, n_ctx: undefined }, /"wpe.weight" to have the shape \[1024, 24\]/],
    [{ n_head: undefined, n_embd: 40 }, /n_embd 40 is not a multiple of n_head 12/],
    [{ layer_norm_epsilon: 0 }, /layer_norm_epsilon .*found 0/],
    [{ layer_norm_epsilon: 'small' }, /layer_norm_epsilon .*found "small"/],
    [{ layer_norm_epsilon: 1e-60 }, /layer_norm_epsilon .*found 1e-60/],
    [{ layer_norm_epsilon: 1e60 }, /layer_norm_epsilon .*found 1e\+60/],
  ])('%j', async (config, message) => {
    const folder = changedFixture(freshFolder(root), 'odd-heads', { config });
    const error = await failure('INVALID_FILE', () => loadModel(folder, loading));
    expect(error.message).toMatch(message);
  });

  test('not JSON, not an object, or missing', async () => {
    const folder = changedFixture(freshFolder(root), 'odd-heads', {});
    for (const text of ['', '{"n_layer": 2', '[]', 'null', '"gpt2"']) {
      writeFileSync(join(folder, 'config.json'), text);
      const { message } = await failure('INVALID_FILE', () =>
        convert(folder, join(folder, 'x.gguf')),
      );
      expect(message).toContain('config.json');
    }
    rmSync(join(folder, 'config.json'));
    const { message } = await failure('FILE_NOT_FOUND', () =>
      convert(folder, join(root, 'x.gguf')),
    );
    expect(message).toContain(`${folder}: there is no config.json in this folder`);
  });
});

describe('weights that do not fit the config are rejected:', () => {
  type Change = (tensors: Map<string, StoredTensor>) => void;
  const reshape =
    (name: string, shape: number[]): Change =>
    (tensors) =>
      tensors.set(name, { ...(tensors.get(name) as StoredTensor), shape });
  const retype =
    (name: string, dtype: string, size: number): Change =>
    (tensors) => {
      const tensor = tensors.get(name) as StoredTensor;
      const count = tensor.shape.reduce((product, extent) => product * extent, 1);
      tensors.set(name, { ...tensor, dtype, bytes: Buffer.alloc(count * size) });
    };

  test.each<[string, ErrorCode, Change, RegExp]>([
    [
      'a missing weight',
      'INVALID_FILE',
      (tensors) => tensors.delete('h.1.mlp.c_fc.weight'),
      /"h\.1\.mlp\.c_fc\.weight" is missing/,
    ],
    [
      'a missing embedding',
      'INVALID_FILE',
      (tensors) => tensors.delete('wpe.weight'),
      /"wpe\.weight" is missing/,
    ],
    [
      'a surplus layer',
      'UNSUPPORTED_MODEL',
      (tensors) => tensors.set('h.2.ln_1.weight', f32Tensor([24], new Array(24).fill(1))),
      /"h\.2\.ln_1\.weight", which is not part of a GPT-2 of 2 layers/,
    ],
    [
      'a surplus tensor',
      'UNSUPPORTED_MODEL',
      (tensors) => tensors.set('h.0.crossattention.c_attn.weight', f32Tensor([1], [0])),
      /crossattention/,
    ],
    [
      'a tensor with and without the prefix',
      'INVALID_FILE',
      (tensors) => tensors.set('transformer.wte.weight', tensors.get('wte.weight') as StoredTensor),
      /"wte\.weight" occurs twice/,
    ],
    [
      'a transposed linear layer',
      'INVALID_FILE',
      reshape('h.0.mlp.c_fc.weight', [96, 24]),
      /"h\.0\.mlp\.c_fc\.weight" to have the shape \[24, 96\] but found \[96, 24\]/,
    ],
    [
      'too few dimensions',
      'INVALID_FILE',
      reshape('wte.weight', [97 * 24]),
      /\[97, 24\] but found \[2328\]/,
    ],
    [
      'too many dimensions',
      'INVALID_FILE',
      reshape('ln_f.weight', [24, 1]),
      /\[24\] but found \[24, 1\]/,
    ],
    ['weights in I8', 'UNSUPPORTED_MODEL', retype('h.0.attn.c_attn.weight', 'I8', 1), /found I8/],
    [
      'weights in an unsupported type',
      'UNSUPPORTED_MODEL',
      retype('h.0.attn.c_attn.weight', 'F8_E4M3', 1),
      /F8_E4M3/,
    ],
    [
      'weights in an unknown type',
      'UNSUPPORTED_MODEL',
      retype('h.0.attn.c_attn.weight', 'F7', 1),
      /to be F64, F32, F16 or BF16 but found F7/,
    ],
    [
      'weights in a type with the name of an inherited property',
      'UNSUPPORTED_MODEL',
      retype('h.0.attn.c_attn.weight', 'constructor', 1),
      /found constructor/,
    ],
    [
      'an untied head although the config says that it is tied',
      'UNSUPPORTED_MODEL',
      (tensors) => tensors.set('lm_head.weight', f32Tensor([97, 24], new Array(97 * 24).fill(1))),
      /tie_word_embeddings is true, but "lm_head\.weight" differs/,
    ],
  ])('%s', async (_, code, change, message) => {
    const folder = changedFixture(freshFolder(root), 'odd-heads', { change });
    const error = await failure(code, () => convert(folder, join(folder, 'model.gguf')));
    expect(error.message).toMatch(message);
    expect(error.message).toContain(folder);
    expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors']);
  });

  test('as many layers as tensors, without allocating memory for them', async () => {
    const count = 100_000;
    const folder = changedFixture(freshFolder(root), 'odd-heads', { config: { n_layer: count } });
    const entry = (index: number) =>
      `{"dtype":"U8","shape":[1],"data_offsets":[${index},${index + 1}]}`;
    const names = Array.from(
      { length: count },
      (_, index) => `"wpe.weight${index}":${entry(index)}`,
    );
    names.push(`"wpe.weight":${entry(0)}`);
    const data = Buffer.alloc(count + 1);
    writeRawSafetensors(join(folder, 'model.safetensors'), `{${names}}`, data);
    const { stdout, exitCode } = await runNode(
      `await gpt2.convert(args.folder, args.folder + '/x.gguf').catch(({ code }) => console.log(code));`,
      { folder },
      { NODE_OPTIONS: '--max-old-space-size=200' },
    );
    expect({ stdout, exitCode }).toEqual({ stdout: 'INVALID_FILE\n', exitCode: 0 });
  });

  test('a missing head although the config says that it is not tied', async () => {
    const folder = changedFixture(freshFolder(root), 'odd-heads', {
      config: { tie_word_embeddings: false },
    });
    const error = await failure('INVALID_FILE', () => loadModel(folder, loading));
    expect(error.message).toMatch(
      /tie_word_embeddings is false, but .*"lm_head\.weight" is missing/,
    );
  });
});

describe('damaged files are rejected:', () => {
  let folder: string;
  let weights: string;
  beforeEach(() => {
    folder = changedFixture(freshFolder(root), 'odd-heads', {});
    weights = join(folder, 'model.safetensors');
  });
  const rejection = async (code: ErrorCode = 'INVALID_FILE') =>
    (await failure(code, () => convert(folder, join(folder, 'model.gguf')))).message;

  test('missing weights', async () => {
    renameSync(weights, join(folder, 'elsewhere'));
    const message = `${folder}: there is no checkpoint in this folder (model.safetensors,`;
    expect(await rejection('FILE_NOT_FOUND')).toContain(message);
    expect((await failure('FILE_NOT_FOUND', () => loadModel(folder, loading))).message).toContain(
      message,
    );
  });

  test.each([0, 1, 7])('weights of %d bytes', async (size) => {
    truncateSync(weights, size);
    expect(await rejection()).toContain(`it has ${size} bytes`);
  });

  test('a truncated header', async () => {
    truncateSync(weights, 100);
    expect(await rejection()).toMatch(/header claims \d+ bytes in a file of 100/);
  });

  test('a truncated last tensor', async () => {
    truncateSync(weights, statSync(weights).size - 1);
    expect(await rejection()).toMatch(/data_offsets/);
  });

  test.each([2n ** 64n - 1n, 2n ** 63n, 2n ** 53n, 200_000_000n])(
    'a header length of %d',
    async (length) => {
      writeRawSafetensors(weights, '{}', Buffer.alloc(64), length);
      expect(await rejection()).toContain(`its header claims ${length} bytes`);
    },
  );

  test.each([
    ['not JSON', '{"wte.weight": '],
    ['an empty header', ''],
    ['a list', '[1, 2]'],
    ['null', 'null'],
    ['a number', '7'],
  ])('a header that is %s', async (_, header) => {
    writeRawSafetensors(weights, header, Buffer.alloc(64));
    expect(await rejection()).toMatch(/its header is not (JSON|a JSON object)/);
  });

  test('tensors that share their bytes', async () => {
    const entry = { dtype: 'F32', shape: [16], data_offsets: [0, 64] };
    writeRawSafetensors(weights, JSON.stringify({ a: entry, b: entry }), Buffer.alloc(64));
    expect(await rejection()).toContain('claim 128 bytes, but it holds 64: they overlap');
  });

  test.each<[string, unknown]>([
    ['offsets beyond the end', { dtype: 'F32', shape: [16], data_offsets: [8, 72] }],
    ['swapped offsets', { dtype: 'F32', shape: [4], data_offsets: [32, 16] }],
    ['negative offsets', { dtype: 'F32', shape: [4], data_offsets: [-16, 0] }],
    ['offsets that do not fit the shape', { dtype: 'F32', shape: [4], data_offsets: [0, 12] }],
    ['one offset', { dtype: 'F32', shape: [4], data_offsets: [0] }],
    ['no offsets', { dtype: 'F32', shape: [4] }],
    ['fractional sizes', { dtype: 'F32', shape: [1.5], data_offsets: [0, 6] }],
    ['negative sizes', { dtype: 'F32', shape: [-2, -2], data_offsets: [0, 16] }],
    [
      'sizes whose product is too large',
      { dtype: 'F32', shape: [2 ** 52, 2 ** 52], data_offsets: [0, 0] },
    ],
    ['no shape', { dtype: 'F32', data_offsets: [0, 16] }],
    ['no type', { shape: [4], data_offsets: [0, 16] }],
    ['null', null],
    ['a string', 'F32'],
  ])('a tensor with %s', async (_, entry) => {
    writeRawSafetensors(weights, JSON.stringify({ 'wte.weight': entry }), Buffer.alloc(64));
    expect(await rejection()).toMatch(/"wte\.weight"/);
  });

  test('a tensor whose type is an array nested too deeply for recursion', async () => {
    const dtype = '['.repeat(1e5) + ']'.repeat(1e5);
    writeRawSafetensors(weights, `{"wte.weight": {"dtype": ${dtype}}}`, Buffer.alloc(64));
    expect(await rejection()).toContain('"wte.weight" has the unknown dtype');
  });

  test('a folder in place of the weights', async () => {
    renameSync(weights, join(folder, 'elsewhere'));
    mkdirSync(weights);
    expect(await rejection('FILE_UNREADABLE')).toContain(weights);
  });
});

describe('values out of the range of the requested type are rejected with the tensor’s name:', () => {
  test.each([
    ['f16', 1e5],
    ['q8_0', 3e7],
    ['q5_1', 3e7],
    ['q4_0', 3e7],
    ['q4_k', 1e12],
    ['f16', Number.NaN],
    ['q8_0', Number.POSITIVE_INFINITY],
  ] as const)('%s and %d', async (type, number) => {
    const folder = changedFixture(freshFolder(root), 'wide', {
      change: (tensors) => {
        const weight = tensors.get('h.1.mlp.c_fc.weight') as StoredTensor;
        const numbers = numbersOf(weight);
        numbers[1000] = number;
        tensors.set('h.1.mlp.c_fc.weight', f32Tensor(weight.shape, numbers));
      },
    });
    const target = join(folder, 'model.gguf');
    const { message } = await failure('INVALID_FILE', () => convert(folder, target, { type }));
    expect(message).toContain('"blk.1.ffn_up.weight"');
    expect(existsSync(target)).toBe(false);
  });
});

describe('the index of shards', () => {
  test('is ignored beside a single file, since it may be stale', async () => {
    const folder = freshFolder(root);
    cpSync(fixtureFolder('odd-heads'), folder, { recursive: true });
    writeFileSync(join(folder, 'model.safetensors.index.json'), '{"weight_map": {"a": "b.gone"}}');
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    await expectGolden(path, 'odd-heads');
  });

  let folder: string;
  let indexPath: string;
  beforeEach(() => {
    folder = freshFolder(root);
    cpSync(fixtureFolder('f16-sharded'), folder, { recursive: true });
    indexPath = join(folder, 'model.safetensors.index.json');
  });

  test.each([
    '../evil.safetensors',
    '/etc/evil.safetensors',
    'sub/evil.safetensors',
    'sub\\evil.safetensors',
    'evil.bin',
    '',
    7,
    null,
  ])('is rejected if it names %j', async (name) => {
    const index = JSON.parse(readFileSync(indexPath, 'utf8'));
    index.weight_map['wte.weight'] = name;
    writeFileSync(indexPath, JSON.stringify(index));
    for (const call of [
      () => convert(folder, join(folder, 'model.gguf')),
      () => loadModel(folder, loading),
    ]) {
      const { message } = await failure('INVALID_FILE', call);
      expect(message).toContain(`${indexPath}: expected a weight_map of file names`);
    }
  });

  test.each([{}, { weight_map: {} }, { weight_map: [] }, { weight_map: 'model.safetensors' }])(
    'is rejected if it is %j',
    async (index) => {
      writeFileSync(indexPath, JSON.stringify(index));
      await failure('INVALID_FILE', () => loadModel(folder, loading));
    },
  );

  test('that names a missing file fails with the path of the file', async () => {
    const shard = join(folder, 'model-00002-of-00003.safetensors');
    renameSync(shard, join(folder, 'elsewhere'));
    for (const call of [
      () => convert(folder, join(folder, 'model.gguf')),
      () => loadModel(folder, loading),
    ]) {
      expect((await failure('FILE_NOT_FOUND', call)).message).toContain(shard);
    }
  });
});

describe('the vocabulary', () => {
  let folder: string;
  beforeEach(() => {
    folder = changedFixture(freshFolder(root), 'odd-heads', {});
    writeFileSync(join(folder, 'merges.txt'), '#version: 0.2\na b\n');
  });
  const rejection = async () =>
    (await failure('INVALID_FILE', () => loadModel(folder, loading))).message;

  test.each<[string, unknown]>([
    ['negative', { a: -1 }],
    ['a fraction', { a: 0.5 }],
    ['a string', { a: '1' }],
    ['null', { a: null }],
    ['an object that cannot be converted to a string', { a: { toString: 1, valueOf: 1 } }],
  ])('is rejected if an id is %s', async (_, ids) => {
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify(ids));
    expect(await rejection()).toMatch(/vocab\.json: expected token ids below 97/);
  });

  // Such models work with token ids.
  const expectNoTokenizer = async (reason: string) => {
    await using model = await loadModel(folder, loading);
    expect((await model.logits([1, 2])).shape).toEqual([1, 97]);
    const { message } = await failure('TOKENIZER_MISSING', () => model.logits('a'));
    expect(message).toContain(reason);
    const notes: string[] = [];
    await convert(folder, join(folder, 'noted.gguf'), { logger: (line) => notes.push(line) });
    const { metadata } = readGguf(join(folder, 'noted.gguf'));
    for (const list of [notes, metadata.get('gpt2_native.conversion_notes')]) {
      expect(list).toEqual([expect.stringMatching(/left out: the tokenizer, .* takes token ids$/)]);
    }
  };

  test.each<[string, object, string]>([
    [
      'WordPiece',
      { model: { type: 'WordPiece', unk_token: '[UNK]', vocab: { a: 0, '##b': 1 } } },
      '"WordPiece", not BPE',
    ],
    [
      'WordPiece without a type',
      { model: { unk_token: '[UNK]', vocab: { a: 0, '##b': 1 } } },
      'without merges',
    ],
    [
      'Unigram',
      {
        model: {
          type: 'Unigram',
          unk_id: 0,
          vocab: [
            ['<unk>', 0],
            ['▁a', -1.5],
          ],
        },
      },
      '"Unigram", not BPE',
    ],
    [
      'WordLevel',
      { model: { type: 'WordLevel', unk_token: '<unk>', vocab: { a: 0, b: 1 } } },
      '"WordLevel", not BPE',
    ],
    [
      'BPE with byte fallback',
      { model: { type: 'BPE', byte_fallback: true, vocab: { a: 0 }, merges: [] } },
      'byte_fallback',
    ],
    [
      'BPE of characters',
      {
        pre_tokenizer: { type: 'Whitespace' },
        model: { type: 'BPE', vocab: { a: 0 }, merges: [] },
      },
      'it is not byte-level: its pre_tokenizer is "Whitespace"',
    ],
    // 97 is beyond the embedding, and text can become it.
    [
      'BPE with a byte beyond the model',
      { model: { type: 'BPE', vocab: { a: 0, b: 97 }, merges: [] } },
      'text can become ids',
    ],
    [
      'BPE with a merge beyond the model',
      { model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 97 }, merges: ['a b'] } },
      'text can become ids',
    ],
  ])('is left out if tokenizer.json has %s', async (_, json, reason) => {
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
    await expectNoTokenizer(reason);
  });

  test('is left out if vocab.json has bytes or merges beyond the model, or far too many tokens', async () => {
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify({ a: 0, b: 97 }));
    await expectNoTokenizer('text can become ids');
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify({ a: 0, b: 1, ab: 200 }));
    await expectNoTokenizer('text can become ids');
    const many = Array.from({ length: 70_000 }, (_, id) => [`a${id}`, id]);
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify(Object.fromEntries(many)));
    await expectNoTokenizer('over 65633 tokens');
  });

  const written = async () => {
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    const { metadata } = readGguf(path);
    return {
      tokens: (metadata.get('tokenizer.ggml.tokens') as string[]).slice(0, 4),
      merges: metadata.get('tokenizer.ggml.merges'),
    };
  };

  test('may have tokens beyond the model that no text becomes', async () => {
    const ids = { a: 0, b: 1, ab: 2, '<|im_end|>': 97, '[PAD]': 98 };
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify(ids));
    expect(await written()).toEqual({ tokens: ['a', 'b', 'ab', '[PAD3]'], merges: ['a b'] });
  });

  test.each([
    ['a blank last line', '#version: 0.2\na b\n# #\n\n'],
    ['a last line of spaces', '#version: 0.2\na b\n# #\n  \n'],
    ['no line break at its end', '#version: 0.2\na b\n# #'],
    ['CRLF', '#version: 0.2\r\na b\r\n# #\r\n\r\n'],
    ['a byte order mark', '\ufeff#version: 0.2\na b\n# #\n'],
    ['a byte order mark and no version', '\ufeffa b\n# #\n'],
    ['spaces around its lines', '#version: 0.2\n a b  \n# #\t\n'],
    [
      'comments',
      '#version: 0.2 - Trained by `huggingface/tokenizers`\n# two words\na b\n#\n# #\n# end\n',
    ],
  ])('may have %s in merges.txt', async (_, text) => {
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify({ a: 0, b: 1, ab: 2, '##': 3 }));
    writeFileSync(join(folder, 'merges.txt'), text);
    expect(await written()).toEqual({ tokens: ['a', 'b', 'ab', '##'], merges: ['a b', '# #'] });
  });

  test('is rejected with a duplicate id', async () => {
    writeFileSync(join(folder, 'vocab.json'), '{"a": 3, "b": 3}');
    expect(await rejection()).toMatch(/vocab\.json: the token id 3 occurs twice/);
  });

  test('is rejected if it is not a JSON object', async () => {
    const cut = [
      '{',
      '{"a": 0',
      '{"a": 0,',
      '{"a": 0,}',
      '{"a": 0} {',
      '{"a" 0}',
      '{"\\x": 0}',
      '{a: 0}',
    ];
    for (const text of [...cut, '', '[]', 'null']) {
      writeFileSync(join(folder, 'vocab.json'), text);
      expect(await rejection()).toMatch(/vocab\.json: it is not (a )?JSON/);
    }
  });

  test.each(['{}', '{"model": null}', '{"model": {"type": "BPE", "vocab": {"a": 0}}}'])(
    'is rejected with the tokenizer.json %s',
    async (text) => {
      writeFileSync(join(folder, 'tokenizer.json'), text);
      expect(await rejection()).toMatch(/tokenizer\.json: expected a model of type BPE/);
    },
  );

  test.each(['1', 'null', '{"toString": 1}', '["a", 1]', '[["a"]]', '[[{"toString": 1}]]'])(
    'is rejected with the merge %s in tokenizer.json',
    async (merge) => {
      const model = `{"type": "BPE", "vocab": {"a": 0}, "merges": ["a b", ${merge}]}`;
      writeFileSync(join(folder, 'tokenizer.json'), `{"model": ${model}}`);
      expect(await rejection()).toMatch(/tokenizer\.json: expected the merges to be strings/);
    },
  );

  test('is not padded to a vocab_size beyond the embedding', async () => {
    writeFileSync(join(folder, 'vocab.json'), '{"a": 0}');
    const config = { ...readConfig('odd-heads'), vocab_size: 2 ** 31 - 1 };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    expect(await rejection()).toMatch(/"wte\.weight" to have the shape \[2147483647, 24\]/);
  });

  test('may use any JSON syntax', async () => {
    const path = join(folder, 'model.gguf');
    const text = String.raw`
      { "\u0120a" :0,"\"\\" : 1 ,
        "{\ud83d\ude00,": 2}
`;
    writeFileSync(join(folder, 'vocab.json'), text);
    await convert(folder, path);
    const tokens = readGguf(path).metadata.get('tokenizer.ggml.tokens') as string[];
    expect(tokens.slice(0, 4)).toEqual(['\u0120a', '"\\', '{\u{1f600},', '[PAD3]']);
  });

  test('is padded if it has too few tokens', async () => {
    const path = join(folder, 'model.gguf');
    writeFileSync(join(folder, 'vocab.json'), '{"a": 0, "<|endoftext|>": 2}');
    await convert(folder, path);
    const { metadata } = readGguf(path);
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    expect(tokens).toHaveLength(97);
    expect(tokens.slice(0, 4)).toEqual(['a', '[PAD1]', '<|endoftext|>', '[PAD3]']);
    expect((metadata.get('tokenizer.ggml.token_type') as number[]).slice(0, 4)).toEqual([
      1, 5, 3, 5,
    ]);
    // The token of that name starts a text; the id in config.json ends it, as in Hugging Face.
    expect(metadata.get('tokenizer.ggml.bos_token_id')).toBe(2);
    expect(metadata.get('tokenizer.ggml.eos_token_id')).toBe(96);
  });

  test('is the same from tokenizer.json as from vocab.json and merges.txt', async () => {
    const vocab = { a: 0, b: 1, ab: 2 };
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify({ ...vocab, '<|endoftext|>': 3 }));
    await convert(folder, join(root, 'two-files.gguf'));
    const expected = readGguf(join(root, 'two-files.gguf')).metadata;
    for (const merges of [['a b'], [['a', 'b']]]) {
      const other = changedFixture(join(freshFolder(root), basename(folder)), 'odd-heads', {});
      writeFileSync(
        join(other, 'tokenizer.json'),
        JSON.stringify({
          added_tokens: [{ id: 3, content: '<|endoftext|>', special: true }],
          model: { type: 'BPE', vocab, merges },
        }),
      );
      await convert(other, join(root, 'one-file.gguf'));
      expect(readGguf(join(root, 'one-file.gguf')).metadata).toEqual(expected);
    }
  });
});

describe('the cache', () => {
  let folder: string;
  let cacheDir: string;
  beforeEach(() => {
    folder = changedFixture(freshFolder(root), 'odd-heads', {});
    cacheDir = join(freshFolder(root), 'made', 'on', 'demand');
  });

  /** Loads the model and returns the stages that it reports. */
  async function stages(options: LoadOptions = {}): Promise<string[]> {
    const reported: string[] = [];
    const model = await loadModel(folder, {
      cacheDir,
      threads: 1,
      ...options,
      onProgress: ({ stage }) => reported.push(stage),
    });
    await model.dispose();
    return [...new Set(reported)];
  }

  test('holds every conversion, which is made once', async () => {
    expect(await stages()).toEqual(['convert', 'load']);
    const [file] = readdirSync(cacheDir) as [string];
    const before = statSync(join(cacheDir, file), { bigint: true });
    expect(await stages()).toEqual(['load']);
    expect(readdirSync(cacheDir)).toEqual([file]);
    const after = statSync(join(cacheDir, file), { bigint: true });
    expect([after.mtimeNs, after.ino]).toEqual([before.mtimeNs, before.ino]);
    await expectGolden(folder, 'odd-heads', { cacheDir });
  });

  test.each([
    ['ASCII', 'n'.repeat(250)],
    ['multi-byte', '💥ü'.repeat(40)],
  ])('holds the conversion of a folder with a long %s name', async (_, name) => {
    const long = join(freshFolder(root), name);
    renameSync(folder, long);
    folder = long;
    expect(await stages()).toEqual(['convert', 'load']);
    expect(await stages()).toEqual(['load']);
    const [file] = readdirSync(cacheDir) as [string];
    expect(name.startsWith(file.slice(0, file.indexOf('-own-')))).toBe(true);
  });

  test('holds one conversion per type', async () => {
    for (const type of ['f32', 'q8_0', 'f16'] as const) {
      expect(await stages({ type })).toEqual(['convert', 'load']);
      expect(await stages({ type })).toEqual(['load']);
    }
    expect(await stages()).toEqual(['convert', 'load']);
    expect(readdirSync(cacheDir)).toHaveLength(4);
  });

  test.each(['config.json', 'model.safetensors'])(
    'is not used after %s has changed',
    async (name) => {
      await stages();
      const later = new Date(Date.now() + 5000);
      utimesSync(join(folder, name), later, later);
      expect(await stages()).toEqual(['convert', 'load']);
    },
  );

  test.each(['vocab.json', 'merges.txt', 'tokenizer.json'])(
    'is not used after %s was added',
    async (name) => {
      const content = name === 'tokenizer.json' ? '{"model": {"vocab": {}, "merges": []}}' : '{}';
      await stages();
      writeFileSync(join(folder, name), content);
      expect(await stages()).toEqual(['convert', 'load']);
    },
  );

  test('is not used after the weights have changed, and open models keep theirs', async () => {
    const options = { cacheDir, threads: 1 };
    const before = await loadModel(folder, options);
    const old = await before.logits([1, 2]);
    changedFixture(folder, 'odd-heads', {
      change: (tensors) => tensors.set('ln_f.bias', f32Tensor([24], new Array(24).fill(1))),
    });
    const later = new Date(Date.now() + 5000);
    utimesSync(join(folder, 'model.safetensors'), later, later);
    const after = await loadModel(folder, options);
    expect((await after.logits([1, 2])).data).not.toEqual(old.data);
    // The open model keeps using the old weights.
    expect(await before.logits([1, 2])).toEqual(old);
    await before.dispose();
    await after.dispose();
  });

  test('leaves the checkpoint’s folder unchanged, which may be read-only', async () => {
    const before = readdirSync(folder);
    chmodSync(folder, 0o555);
    try {
      expect(await stages()).toEqual(['convert', 'load']);
      expect(readdirSync(folder)).toEqual(before);
    } finally {
      chmodSync(folder, 0o755);
    }
  });

  test('serves two processes that convert at the same time', async () => {
    const script = `
      const stages = new Set();
      const model = await gpt2.loadModel(args.folder, {
        cacheDir: args.cacheDir, threads: 1, type: 'q8_0', onProgress: ({ stage }) => stages.add(stage),
      });
      const { data } = await model.logits([1, 2, 3]);
      console.log(JSON.stringify([[...stages], ...data.subarray(0, 5)]));`;
    const args = { folder: fixtureFolder('wide'), cacheDir };
    const results = await Promise.all([runNode(script, args), runNode(script, args)]);
    for (const { exitCode, stderr } of results)
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const [one, other] = results.map(({ stdout }) => JSON.parse(stdout).slice(1));
    expect(one).toEqual(other);
    expect(readdirSync(cacheDir)).toEqual([expect.stringMatching(/^wide-q8_0-.*\.gguf$/)]);
  });

  test('serves concurrent loads in one process', async () => {
    const models = await Promise.all(
      Array.from({ length: 4 }, () => loadModel(folder, { cacheDir, threads: 1 })),
    );
    const logits = await Promise.all(models.map((model) => model.logits([1, 2])));
    for (const one of logits) expect(one).toEqual(logits[0]);
    for (const model of models) await model.dispose();
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });

  describe('without the option cacheDir', () => {
    // Runs in a child process with its own environment and home directory.
    async function load(environment: NodeJS.ProcessEnv, options: LoadOptions = {}): Promise<void> {
      const result = await runNode(
        'await (await gpt2.loadModel(args.folder, args.options)).dispose();',
        { folder, options },
        environment,
      );
      expect(result).toMatchObject({ exitCode: 0, stderr: '' });
    }

    test('is at GPT2_NATIVE_CACHE', async () => {
      await load({ GPT2_NATIVE_CACHE: cacheDir });
      expect(readdirSync(cacheDir)).toHaveLength(1);
      // The option takes precedence.
      const other = freshFolder(root);
      await load({ GPT2_NATIVE_CACHE: join(other, 'unused') }, { cacheDir: join(other, 'used') });
      expect(readdirSync(other)).toEqual(['used']);
    });

    test.runIf(process.platform === 'linux')(
      'is in XDG_CACHE_HOME, or else in ~/.cache',
      async () => {
        await load({ GPT2_NATIVE_CACHE: '', XDG_CACHE_HOME: cacheDir });
        expect(readdirSync(join(cacheDir, 'gpt2-native'))).toHaveLength(1);
        const home = freshFolder(root);
        await load({ GPT2_NATIVE_CACHE: undefined, XDG_CACHE_HOME: undefined, HOME: home });
        expect(readdirSync(join(home, '.cache', 'gpt2-native'))).toHaveLength(1);
      },
    );
  });

  test('that cannot be written is named in the error', async () => {
    const file = join(freshFolder(root), 'file');
    writeFileSync(file, '');
    const error = await failure('FILE_UNWRITABLE', () =>
      loadModel(folder, { cacheDir: join(file, 'cache') }),
    );
    expect(error.message).toContain(file);
  });
});

describe('convert', () => {
  test('replaces an existing file', async () => {
    const path = join(freshFolder(root), 'model.gguf');
    writeFileSync(path, 'old');
    await convert(fixtureFolder('odd-heads'), path);
    await expectGolden(path, 'odd-heads');
    expect(readdirSync(join(path, '..'))).toEqual(['model.gguf']);
  });

  test('reports progress that never decreases and ends at the total', async () => {
    for (const name of ['wide', 'own-head-no-bias', 'f16-sharded'] as const) {
      const reports: LoadProgress[] = [];
      await convert(fixtureFolder(name), join(freshFolder(root), 'model.gguf'), {
        type: 'q8_0',
        onProgress: (progress) => reports.push({ ...progress }),
      });
      const total = [...readTensors(name).values()].reduce(
        (sum, { bytes }) => sum + bytes.length,
        0,
      );
      expect(reports[0]).toEqual({ stage: 'convert', done: 0, total });
      expect(reports.at(-1)).toEqual({ stage: 'convert', done: total, total });
      for (const [i, { done }] of reports.entries()) {
        expect(done).toBeGreaterThanOrEqual(reports[i - 1]?.done ?? 0);
        expect(done).toBeLessThanOrEqual(total);
      }
    }
  });

  test('writes the same bytes with any number of threads', async () => {
    const folder = freshFolder(root);
    const [one, three] = [join(folder, 'one.gguf'), join(folder, 'three.gguf')];
    for (const type of ['f16', 'q8_0', 'q4_k'] as const) {
      await convert(fixtureFolder('wide'), one, { type, threads: 1 });
      await convert(fixtureFolder('wide'), three, { type, threads: 3 });
      expect(readFileSync(three).equals(readFileSync(one))).toBe(true);
    }
  });

  test.runIf(process.platform === 'linux')('uses as many threads as it is given', async () => {
    const { stdout, stderr } = await runNode(
      `const { readdirSync } = require('node:fs');
       // The most threads that the process has while a call converts with so many.
       const most = async (call, threads) => {
         let count = 0;
         const onProgress = ({ stage }) => {
           if (stage === 'convert') count = Math.max(count, readdirSync('/proc/self/task').length);
         };
         await call({ threads, type: 'q4_0', onProgress });
         return count;
       };
       const path = (threads) => args.folder + '/' + threads + '.gguf';
       const config = {
         vocab_size: 1000, context_length: 64, emb_dim: 256, n_heads: 4, n_layers: 4,
       };
       const calls = {
         convert: (options) => gpt2.convert(args.checkpoint, path(options.threads), options),
         quantize: (options) => gpt2.convert(args.file, path(options.threads), options),
         loadModel: async (options) => {
           const cacheDir = args.folder + '/cache' + options.threads;
           await (await gpt2.loadModel(args.checkpoint, { ...options, cacheDir })).dispose();
         },
         createModel: async (options) => {
           const cacheDir = args.folder + '/cache';
           await (await gpt2.createModel(config, { ...options, cacheDir })).dispose();
         },
       };
       const added = {};
       for (const [name, call] of Object.entries(calls)) {
         const one = await most(call, 1);
         added[name] = await most(call, 41) - one;
       }
       console.log(JSON.stringify(added));`,
      {
        checkpoint: fixtureFolder('wide'),
        file: await convertedWide(),
        folder: freshFolder(root),
      },
    );
    expect(stderr).toBe('');
    // Threads of earlier calls may still be ending.
    for (const [name, added] of Object.entries<number>(JSON.parse(stdout))) {
      expect(added, name).toBeGreaterThanOrEqual(35);
      expect(added, name).toBeLessThanOrEqual(45);
    }
  });

  test('that is aborted leaves no file and keeps an existing one', async () => {
    const folder = freshFolder(root);
    const path = join(folder, 'model.gguf');
    const reason = new Error('stop');
    await expect(
      convert(fixtureFolder('wide'), path, { signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    expect(readdirSync(folder)).toEqual([]);

    for (const type of [undefined, 'f32', 'q4_k'] as const) {
      writeFileSync(path, 'old');
      const controller = new AbortController();
      const stopped = convert(fixtureFolder('wide'), path, {
        type,
        signal: controller.signal,
        onProgress: ({ done }) => {
          if (done > 1e6) controller.abort(reason);
        },
      });
      await expect(stopped).rejects.toBe(reason);
      expect(readdirSync(folder)).toEqual(['model.gguf']);
      expect(readFileSync(path, 'utf8')).toBe('old');
    }
  });

  test('leaves no file if onProgress throws, and rejects with its error', async () => {
    const folder = freshFolder(root);
    const mine = new Error('mine');
    const failing = convert(fixtureFolder('wide'), join(folder, 'model.gguf'), {
      onProgress: ({ done }) => {
        if (done > 0) throw mine;
      },
    });
    await expect(failing).rejects.toBe(mine);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('names a target that cannot be written', async () => {
    const folder = freshFolder(root);
    writeFileSync(join(folder, 'file'), '');
    mkdirSync(join(folder, 'folder'));
    for (const target of [join(folder, 'file', 'model.gguf'), join(folder, 'folder')]) {
      const error = await failure('FILE_UNWRITABLE', () =>
        convert(fixtureFolder('odd-heads'), target),
      );
      expect(error.message).toContain(target);
    }
    expect(readdirSync(folder).sort()).toEqual(['file', 'folder']);
    expect(readdirSync(join(folder, 'folder'))).toEqual([]);
  });

  test('creates the folders of its target', async () => {
    const path = join(freshFolder(root), 'a', 'b', 'model.gguf');
    await convert(fixtureFolder('odd-heads'), path);
    await expectGolden(path, 'odd-heads');
  });

  test('writes the same bytes every time', async () => {
    const folder = freshFolder(root);
    for (const name of ['1.gguf', '2.gguf']) {
      await convert(fixtureFolder('wide'), join(folder, name), { type: 'q4_k' });
    }
    const [one, other] = ['1.gguf', '2.gguf'].map((name) => readFileSync(join(folder, name)));
    expect(one?.equals(other as Buffer)).toBe(true);
  });
});

function bytesOf(numbers: number[]): Uint8Array {
  return new Uint8Array(Float64Array.from(numbers).buffer);
}

/** [rows, columns] as [columns, rows]. */
function transposed(numbers: number[], rows: number, columns: number): number[] {
  return Array.from(
    { length: numbers.length },
    (_, i) => numbers[(i % rows) * columns + Math.floor(i / rows)] as number,
  );
}

describe('a GGUF file as the source', () => {
  const folder = freshFolder(root);
  const own = join(folder, 'own.gguf');
  beforeAll(async () => {
    await convert(fixtureFolder('wide'), own);
  });

  test.each(['q8_0', 'q4_k', 'q5_k_m', 'f16'] as const)(
    'in %s equals the conversion of its checkpoint to that type',
    async (type) => {
      const [target, direct] = [join(folder, `${type}.gguf`), join(folder, `${type}-direct.gguf`)];
      await convert(own, target, { type });
      await convert(fixtureFolder('wide'), direct, { type });
      const [found, expected] = [readGguf(target), readGguf(direct)];
      expect(found.metadata).toEqual(expected.metadata);
      expect([...found.tensors.keys()]).toEqual([...expected.tensors.keys()]);
      for (const [name, { type: own, bytes }] of expected.tensors) {
        expect(found.tensors.get(name)?.type).toBe(own);
        expect(found.tensors.get(name)?.bytes.equals(bytes)).toBe(true);
      }
    },
  );

  test('may be quantised itself, and keeps its other metadata', async () => {
    const small = join(folder, 'small.gguf');
    const again = join(folder, 'again.gguf');
    await convert(own, small, { type: 'q8_0' });
    await convert(small, again, { type: 'f32' });
    const { metadata } = readGguf(again);
    expect(metadata.get('general.name')).toBe(readGguf(own).metadata.get('general.name'));
    expect(metadata.get('general.file_type')).toBe(0);
    expect(readGguf(small).metadata.has('general.quantization_version')).toBe(true);
    expect(metadata.has('general.quantization_version')).toBe(false);
    await using before = await loadModel(small);
    await using after = await loadModel(again, { cacheType: 'f16' });
    const { tokens } = readGolden('wide');
    const [left, right] = [await before.logits(tokens), await after.logits(tokens)];
    // The weights are the same, but the activations are no longer rounded.
    expect(logitsError(right.data, left.data, left.shape[1]).rms).toBeLessThan(0.05);
  });

  test('is rejected without a type, with another architecture, or if it is damaged', async () => {
    const target = join(folder, 'never.gguf');
    const { message } = await failure('INVALID_ARGUMENT', () => convert(own, target));
    expect(message).toMatch(/it is a GGUF file; expected a type/);
    const bytes = readFileSync(own);
    const llama = join(folder, 'llama.gguf');
    const at = bytes.indexOf('gpt2', bytes.indexOf('general.architecture'));
    writeFileSync(
      llama,
      Buffer.concat([bytes.subarray(0, at), Buffer.from('gpt3'), bytes.subarray(at + 4)]),
    );
    await failure('UNSUPPORTED_MODEL', () => convert(llama, target, { type: 'q8_0' }));
    writeFileSync(llama, bytes.subarray(0, -1));
    await failure('INVALID_FILE', () => convert(llama, target, { type: 'q8_0' }));
    // A missing layer count, and a tensor name that GPT-2 does not have.
    for (const [text, code] of [
      ['gpt2.block_count', 'INVALID_FILE'],
      ['blk.0.ffn_up.weight', 'UNSUPPORTED_MODEL'],
    ] as const) {
      const changed = Buffer.from(bytes);
      changed.write('x', changed.indexOf(text) + 5);
      writeFileSync(llama, changed);
      await failure(code, () => convert(llama, target, { type: 'q8_0' }));
    }
    // A file_type that is not a 32-bit integer.
    const key = bytes.indexOf('general.file_type') + 'general.file_type'.length;
    const other = Buffer.from(bytes);
    other.writeUInt32LE(6, key); // a float
    writeFileSync(llama, other);
    await failure('INVALID_FILE', () => convert(llama, target, { type: 'q8_0' }));
    expect(existsSync(target)).toBe(false);
  });
});

describe('the k-quant mixtures', () => {
  const layers = Array.from({ length: 12 }, (_, i) => i);

  test.each([
    ['q4_k_m', 'q4_k', 'q5_k'],
    ['q5_k_m', 'q5_k', 'q6_k'],
  ] as const)('%s is %s, with %s for the most sensitive matrices', (type, most, qkv) => {
    const of = (name: string) => matrixType(name, 768, type, 12);
    for (const i of layers) {
      expect(of(`blk.${i}.attn_qkv.weight`)).toBe(qkv);
      expect(of(`blk.${i}.attn_output.weight`)).toBe(most);
      expect(of(`blk.${i}.ffn_up.weight`)).toBe(most);
    }
    // The first and the last eighth of 12 layers, and every third layer between them.
    const finer = layers.filter((i) => of(`blk.${i}.ffn_down.weight`) === 'q6_k');
    expect(finer).toEqual([0, 3, 6, 9, 10, 11]);
    expect(of('token_embd.weight')).toBe('q8_0');
    expect(of('position_embd.weight')).toBe('f16');
  });

  test('fall back if the row length is no multiple of 256', () => {
    expect(matrixType('blk.0.ffn_up.weight', 1600, 'q4_k_m', 48)).toBe('q4_0');
    expect(matrixType('blk.0.attn_qkv.weight', 1600, 'q5_k_m', 48)).toBe('q8_0');
  });
});
