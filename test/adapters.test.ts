// LoRA adapters written by PEFT (scripts/reference/make_adapters.py) with the logits of PEFT's unmerged model.

import { cpSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type AdapterOption, convert, type LoadOptions, loadModel } from '../dist/index.js';
import { f32Tensor } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { readGguf } from './gguf-reader.js';
import { runProcess } from './node-process.js';
import {
  numbersOf,
  readSafetensors,
  type StoredTensor,
  writeSafetensors,
} from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const fixtures = join(__dirname, 'fixtures', 'adapters');
const base = join(fixtures, 'base');
const { tokens, logits } = JSON.parse(readFileSync(join(fixtures, 'logits.json'), 'utf8')) as {
  tokens: number[];
  logits: Record<string, number[]>;
};
const adapter = (name: string) => join(fixtures, name);

async function expectLogits(name: string, source: string, options: LoadOptions): Promise<void> {
  await using model = await loadModel(source, { cacheDir: freshFolder(root), ...options });
  const { data } = await model.logits(tokens);
  const expected = logits[name] as number[];
  expect(data.length).toBe(expected.length);
  const errors = expected.map((logit, i) => Math.abs(logit - (data[i] as number)));
  expect(Math.max(...errors)).toBeLessThan(2e-6);
}

async function converted(source: string, adapters: AdapterOption[], options = {}) {
  const path = join(freshFolder(root), 'model.gguf');
  await convert(source, path, { adapters, ...options });
  return readGguf(path);
}

/** A copy of a fixture's folder with some settings or tensors changed. */
function changed(
  name: string,
  settings: object,
  change?: (tensors: Map<string, StoredTensor>) => void,
): string {
  const folder = freshFolder(root);
  cpSync(adapter(name), folder, { recursive: true });
  const [weights = ''] = readdirSync(folder).filter((file) => file.endsWith('.safetensors'));
  const config = join(folder, name === 'base' ? 'config.json' : 'adapter_config.json');
  const before = JSON.parse(readFileSync(config, 'utf8'));
  writeFileSync(config, JSON.stringify({ ...before, ...settings }));
  const tensors = readSafetensors(join(folder, weights));
  change?.(tensors);
  writeSafetensors(join(folder, weights), tensors);
  return folder;
}

describe('an adapter has the logits of PEFT', () => {
  test.each(['lora', 'rslora', 'embedding', 'head', 'tokens', 'copies'])('%s', async (name) => {
    await expectLogits(name, base, { adapters: [adapter(name)] });
  });

  test('given by the file with its weights', async () => {
    const adapters = [join(adapter('lora'), 'adapter_model.safetensors')];
    await expectLogits('lora', base, { adapters });
  });

  test('together with another, each with a scale', async () => {
    const adapters = [
      { path: adapter('lora'), scale: 0.5 },
      { path: adapter('rslora'), scale: -1.5 },
    ];
    await expectLogits('both', base, { adapters });
    await expectLogits('both', base, { adapters: adapters.toReversed() });
  });

  test('in a PEFT model that was saved as a whole', async () => {
    await expectLogits('whole', adapter('whole'), {});
  });

  test('none changes nothing', async () => {
    await expectLogits('base', base, { adapters: [] });
    await expectLogits('base', base, { adapters: [{ path: adapter('lora'), scale: 0 }] });
  });

  test('on a base with torch.nn.Linear, as nanoGPT has it', async () => {
    const linear = changed('base', {}, (tensors) => {
      for (const [name, tensor] of tensors) {
        if (/c_(attn|proj|fc)\.weight$/.test(name)) tensors.set(name, transposed(tensor));
      }
    });
    await expectLogits('lora', linear, { adapters: [adapter('lora')] });
  });

  test('on the book’s model, with three linear layers for queries, keys and values', async () => {
    const book = changed('base', bookConfig, (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        tensors.delete(name);
        for (const [renamed, part] of inBook(name, tensor)) tensors.set(renamed, part);
      }
    });
    const settings = {
      rank_pattern: { 'trf_blocks.1.ff.layers.0': 3 },
      alpha_pattern: { 'trf_blocks.1.ff.layers.0': 5, '^trf_blocks.0.att.out_proj': 1 },
    };
    const ofBook = changed('lora', settings, (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        tensors.delete(name);
        for (const [renamed, part] of adapterInBook(name, tensor)) tensors.set(renamed, part);
      }
    });
    await expectLogits('lora', book, { adapters: [ofBook] });
  });
});

function transposed({ shape, ...stored }: StoredTensor): StoredTensor {
  const [rows = 0, columns = 0] = shape;
  const numbers = numbersOf(stored);
  const turned = numbers.map((_, i) => numbers[(i % rows) * columns + Math.floor(i / rows)] ?? 0);
  return f32Tensor([columns, rows], turned);
}

const bookConfig = {
  ...{ vocab_size: 13, context_length: 6, emb_dim: 8, n_heads: 2, n_layers: 2 },
  activation_function: 'gelu_new',
};

const bookModules: readonly [RegExp, string][] = [
  [/^(?:base_model\.model\.)?transformer\./, ''],
  [/^h\./, 'trf_blocks.'],
  [/attn\.c_proj/, 'att.out_proj'],
  [/mlp\.c_fc/, 'ff.layers.0'],
  [/mlp\.c_proj/, 'ff.layers.2'],
  [/^wte\./, 'tok_emb.'],
  [/^wpe\./, 'pos_emb.'],
  [/(?:ln_([12])|ln_f)\.weight/, 'norm$1.scale'],
  [/(?:ln_([12])|ln_f)\.bias/, 'norm$1.shift'],
  [/^norm\./, 'final_norm.'],
];

function nameInBook(name: string): string {
  return bookModules.reduce((text, [pattern, other]) => text.replace(pattern, other), name);
}

/** Divides a tensor into thirds along its first dimension. */
function thirds(tensor: StoredTensor): StoredTensor[] {
  const [rows = 0, ...others] = tensor.shape;
  const numbers = numbersOf(tensor);
  const count = numbers.length / 3;
  return [0, 1, 2].map((i) =>
    f32Tensor([rows / 3, ...others], numbers.slice(i * count, (i + 1) * count)),
  );
}

const bookQkv = ['W_query', 'W_key', 'W_value'] as const;

function inBook(name: string, tensor: StoredTensor): [string, StoredTensor][] {
  const isLinear = /c_(attn|proj|fc)\.weight$/.test(name);
  const outputFirst = isLinear ? transposed(tensor) : tensor;
  if (!name.includes('c_attn')) return [[nameInBook(name), outputFirst]];
  const parts = thirds(outputFirst);
  return bookQkv.map((part, i) => [
    nameInBook(name).replace('attn.c_attn', `att.${part}`),
    parts[i] as StoredTensor,
  ]);
}

function adapterInBook(name: string, tensor: StoredTensor): [string, StoredTensor][] {
  const renamed = `base_model.model.${nameInBook(name)}`;
  if (!name.includes('c_attn')) return [[renamed, tensor]];
  const parts = name.includes('lora_B') ? thirds(tensor) : [tensor, tensor, tensor];
  return bookQkv.map((part, i) => [
    renamed.replace('attn.c_attn', `att.${part}`),
    parts[i] as StoredTensor,
  ]);
}

describe('merging', () => {
  test('is done in f32, before a type is encoded', async () => {
    const path = join(freshFolder(root), 'f32.gguf');
    await convert(base, path, { adapters: [adapter('lora')], type: 'f32' });
    const encoded = join(freshFolder(root), 'f16.gguf');
    await convert(path, encoded, { type: 'f16' });
    const { tensors } = await converted(base, [adapter('lora')], { type: 'f16' });
    expect(tensors).toEqual(readGguf(encoded).tensors);
  });

  test('gives the same bytes with any number of threads', async () => {
    const one = await converted(base, [adapter('lora')], { threads: 1 });
    const three = await converted(base, [adapter('lora')], { threads: 3 });
    expect(three).toEqual(one);
  });

  test('precedes the scale of attention that is folded into the queries', async () => {
    const scaled = changed('base', { scale_attn_by_inverse_layer_idx: true });
    const plain = (await converted(base, [adapter('lora')])).tensors;
    const { tensors } = await converted(scaled, [adapter('lora')]);
    const name = 'blk.1.attn_qkv.weight';
    const expected = numbersOf(f32Of(plain, name)).map((value, i) => (i < 64 ? value / 2 : value));
    expect(numbersOf(f32Of(tensors, name))).toEqual(expected);
  });

  test('is recorded in the file', async () => {
    const adapters = [{ path: adapter('head'), scale: 0.25 }];
    const { metadata } = await converted(base, adapters);
    expect(metadata.get('gpt2_native.conversion_notes')).toEqual([
      'merged the adapter head: 1 modules changed by LoRA, times 0.25, 15 tensors replaced', // the head's own copy, 13 biases and the last norm's weight
    ]);
  });

  test('leaves heads for training and buffers out', async () => {
    const folder = changed('lora', { modules_to_save: ['score'] }, (tensors) => {
      tensors.set('base_model.model.score.weight', f32Tensor([2, 8], new Array(16).fill(1)));
      const mask = 'base_model.model.transformer.h.0.attn.bias';
      tensors.set(mask, f32Tensor([1, 1, 6, 6], new Array(36).fill(1)));
    });
    const { tensors } = await converted(base, [folder]);
    expect(tensors).toEqual((await converted(base, [adapter('lora')])).tensors);
  });

  test('gives an absent bias the trained one', async () => {
    const name = 'transformer.h.0.attn.c_attn.bias';
    const without = changed('base', {}, (tensors) => tensors.delete(name));
    const { metadata, tensors } = await converted(without, [adapter('head')]);
    expect(metadata.has('gpt2_native.absent_biases')).toBe(false);
    const trained = readSafetensors(join(adapter('head'), 'adapter_model.safetensors'));
    const bias = trained.get(`base_model.model.${name}`) as StoredTensor;
    expect(f32Of(tensors, 'blk.0.attn_qkv.bias').bytes).toEqual(bias.bytes);
  });

  test('takes the tokenizer of an adapter that adds tokens', async () => {
    const ids = Object.fromEntries([...'abcdefghijklmnop'].map((token, id) => [token, id]));
    const folder = changed('tokens', {});
    const model = { type: 'BPE', vocab: ids, merges: [] };
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify({ added_tokens: [], model }));
    const { metadata } = await converted(base, [folder]);
    expect(metadata.get('tokenizer.ggml.tokens')).toEqual(Object.keys(ids));
  });

  test('of an embedding of a tied model leaves the head as it was, as PEFT does', async () => {
    const before = (await converted(base, [])).tensors;
    const { tensors } = await converted(base, [adapter('embedding')]);
    expect(f32Of(tensors, 'output.weight').bytes).toEqual(f32Of(before, 'token_embd.weight').bytes);
  });

  test('of new tokens keeps the head tied', async () => {
    const { tensors } = await converted(base, [adapter('tokens')]);
    expect(tensors.has('output.weight')).toBe(false);
    const withoutHead = changed('tokens', {}, (all) =>
      all.delete('base_model.model.lm_head.weight'),
    );
    expect((await converted(base, [withoutHead])).tensors).toEqual(tensors);
  });
});

function f32Of(tensors: ReturnType<typeof readGguf>['tensors'], name: string) {
  const { type, bytes } = tensors.get(name) as { type: number; bytes: Buffer };
  expect(type).toBe(0); // GGML_TYPE_F32
  return { dtype: 'F32', bytes };
}

describe('the cache', () => {
  test('holds a conversion for each adapter and scale, until a file changes', async () => {
    const cacheDir = freshFolder(root);
    const folder = changed('lora', {});
    const load = async (adapters: AdapterOption[]) => {
      await using model = await loadModel(base, { cacheDir, adapters });
      expect(model.config.layerCount).toBe(2);
      return readdirSync(cacheDir).length;
    };
    expect(await load([])).toBe(1);
    expect(await load([folder])).toBe(2);
    expect(await load([{ path: folder, scale: 1 }])).toBe(2);
    expect(await load([{ path: folder, scale: 0.5 }])).toBe(3);
    expect(await load([folder, adapter('rslora')])).toBe(4);
    utimesSync(join(folder, 'adapter_config.json'), 1, 1);
    expect(await load([folder])).toBe(5);
  });

  test('holds another conversion of a whole PEFT model when its adapter’s config changes', async () => {
    const cacheDir = freshFolder(root);
    const folder = freshFolder(root);
    cpSync(adapter('whole'), folder, { recursive: true });
    for (const time of [1, 2]) {
      utimesSync(join(folder, 'adapter_config.json'), time, time);
      await using model = await loadModel(folder, { cacheDir });
      expect(model.config.layerCount).toBe(2);
      expect(readdirSync(cacheDir).length).toBe(time);
    }
  });
});

describe('is rejected:', () => {
  const lora = 'base_model.model.transformer.h.0.attn.c_attn.lora_';

  test.each<[string, object, RegExp]>([
    ['another method', { peft_type: 'IA3' }, /expected LoRA but found the peft_type "IA3"; merge/],
    ['no method', { peft_type: null }, /the peft_type null/],
    ['DoRA', { use_dora: true }, /expected LoRA but found use_dora true/],
    ['an initialisation that changes the base', { init_lora_weights: 'pissa' }, /"pissa"/],
    ['trained tokens', { trainable_token_indices: [1] }, /trainable_token_indices/],
    ['repeated layers', { layer_replication: [[0, 2]] }, /layer_replication/],
    ['a regular expression for alphas', { alpha_pattern: { '(a+)+$': 1 } }, /names of modules/],
  ])('%s', async (_, settings, message) => {
    const folder = changed('lora', settings);
    const error = await failure('UNSUPPORTED_MODEL', () => converted(base, [folder]));
    expect(error.message).toMatch(message);
  });

  test.each<[string, object, RegExp]>([
    ['an alpha that is no number', { lora_alpha: 'much' }, /lora_alpha to be a number/],
    ['an alpha beyond f32', { lora_alpha: 1e300, alpha_pattern: {} }, /finite in f32/],
    ['another rank', { r: 3, rank_pattern: {} }, /to have 3 rows, the rank, but found 2/],
  ])('%s', async (_, settings, message) => {
    const folder = changed('lora', settings);
    const error = await failure('INVALID_FILE', () => converted(base, [folder]));
    expect(error.message).toMatch(message);
  });

  const zeros = (...shape: number[]) =>
    f32Tensor(shape, new Array(shape.reduce((a, b) => a * b)).fill(0));

  test.each<[string, 'INVALID_FILE' | 'UNSUPPORTED_MODEL', [string, StoredTensor], RegExp]>([
    [
      'a matrix of another shape',
      'INVALID_FILE',
      [`${lora}B.weight`, zeros(23, 2)],
      /\[24, 2\] but/,
    ],
    ['no rank', 'INVALID_FILE', [`${lora}A.weight`, zeros(0, 8)], /but found 0/],
    [
      'one matrix of two',
      'INVALID_FILE',
      ['base_model.model.transformer.wpe.lora_embedding_A', zeros(2, 6)],
      /only one of them/,
    ],
    [
      'a layer that the base lacks',
      'UNSUPPORTED_MODEL',
      ['base_model.model.transformer.h.2.ln_1.weight', zeros(8)],
      /h\.2\.ln_1\.weight", which a GPT-2 of 2 layers does not have/,
    ],
    ['a bias of LoRA', 'UNSUPPORTED_MODEL', [`${lora}B.bias`, zeros(24)], /lora_bias/],
    [
      'LoRA of a vector',
      'UNSUPPORTED_MODEL',
      ['base_model.model.transformer.ln_f.lora_A.weight', zeros(2, 8)],
      /expected LoRA of a matrix but found that of "base_model\.model\.transformer\.ln_f"/,
    ],
    [
      'several adapters',
      'UNSUPPORTED_MODEL',
      [`${lora}A.other.weight`, zeros(2, 8)],
      /one adapter/,
    ],
    ['IA3', 'UNSUPPORTED_MODEL', ['h.0.attn.c_attn.ia3_l', zeros(24)], /IA3 \(the tensor/],
  ])('%s', async (_, code, [name, tensor], message) => {
    const folder = changed('lora', { rank_pattern: {}, r: null }, (tensors) =>
      tensors.set(name, tensor),
    );
    const error = await failure(code, () => converted(base, [folder]));
    expect(error.message).toMatch(message);
  });

  test('an adapter without tensors', async () => {
    const folder = changed('lora', {}, (tensors) => tensors.clear());
    const error = await failure('INVALID_FILE', () => converted(base, [folder]));
    expect(error.message).toMatch(/expected the tensors of an adapter but found none/);
  });

  test('two adapters that replace the same tensor', async () => {
    const adapters = [adapter('head'), changed('head', {})];
    const error = await failure('INVALID_ARGUMENT', () => converted(base, adapters));
    expect(error.message).toMatch(/replaces the tensor ".+", as .+ does/);
  });

  test('a new embedding beside an own head of another size', async () => {
    const untied = changed('base', { tie_word_embeddings: false }, (tensors) =>
      tensors.set('lm_head.weight', zeros(13, 8)),
    );
    const folder = changed('tokens', {}, (tensors) =>
      tensors.delete('base_model.model.lm_head.weight'),
    );
    const error = await failure('INVALID_FILE', () => converted(untied, [folder]));
    expect(error.message).toMatch(/same number of tokens but found 16 and 13/);
  });

  test('LoRA without a config, which has its factor', async () => {
    const folder = freshFolder(root);
    cpSync(
      join(adapter('lora'), 'adapter_model.safetensors'),
      join(folder, 'adapter_model.safetensors'),
    );
    const error = await failure('FILE_NOT_FOUND', () => converted(base, [folder]));
    expect(error.message).toMatch(/adapter_config\.json .* put it beside the weights/);
    cpSync(join(adapter('whole'), 'pytorch_model.bin'), join(folder, 'pytorch_model.bin'));
    cpSync(join(base, 'config.json'), join(folder, 'config.json'));
    await failure('FILE_NOT_FOUND', () => converted(folder, []));
  });

  test('a path without an adapter', async () => {
    await failure('FILE_NOT_FOUND', () => converted(base, [join(root, 'absent')]));
    const error = await failure('FILE_NOT_FOUND', () => converted(base, [base]));
    expect(error.message).toMatch(/expected the folder of a PEFT adapter/);
  });

  test('a GGUF file as the base', async () => {
    const path = join(freshFolder(root), 'model.gguf');
    await convert(base, path);
    const adapters = [adapter('lora')];
    for (const call of [
      () => loadModel(path, { adapters }),
      () => loadModel(undefined, { adapters }),
      () => convert(path, join(root, 'other.gguf'), { type: 'f16', adapters }),
    ]) {
      const error = await failure('INVALID_ARGUMENT', call);
      expect(error.message).toMatch(/expected a checkpoint as the base of adapters/);
    }
  });

  test.each([
    ['lora', 'FILE_NOT_FOUND'],
    ['lora/adapter_model.safetensors', 'UNSUPPORTED_MODEL'],
  ] as const)('%s as a model, with advice', async (path, code) => {
    const error = await failure(code, () => loadModel(join(fixtures, path), { cacheDir: root }));
    expect(error.message).toMatch(/a PEFT adapter.*loadModel\(base, \{ adapters: \[folder\] \}\)/);
  });
});

test('gpt2 convert and logits take adapters', async () => {
  const path = join(freshFolder(root), 'model.gguf');
  const flags = ['--adapter', `${adapter('lora')}=0.5`, '--adapter', `${adapter('rslora')}=-1.5`];
  const cli = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
  const run = async (...rest: string[]) => {
    const environment = { GPT2_NATIVE_CACHE: freshFolder(root) };
    const result = await runProcess([cli, ...rest], { environment });
    expect(result).toMatchObject({ exitCode: 0 });
    return result.stdout;
  };
  await run('convert', base, path, ...flags);
  await expectLogits('both', path, {});
  const tokenFlag = ['--tokens', tokens.join(',')];
  const ofFile = await run('logits', '--json', '--model', path, ...tokenFlag);
  const ofBase = await run('logits', '--json', '--model', base, ...flags, ...tokenFlag);
  expect(JSON.parse(ofBase)).toEqual(JSON.parse(ofFile));
});
