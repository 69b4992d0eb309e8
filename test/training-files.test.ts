// One tiny model as training programs, wrappers and tools save it (scripts/reference/make_training_files.py), and
// files that are no weights. Every form that opens has the tensors, and with them the logits, of the plain one.

import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, type ErrorCode, loadModel } from '../dist/index.js';
import { f32Tensor, splitWeights } from './checkpoint-folder.js';
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
const training = join(__dirname, 'fixtures', 'training');
const plain = join(training, 'plain');

interface Converted {
  headCount: unknown;
  notes: unknown;
  tensors: ReturnType<typeof readGguf>['tensors'];
  log: string[];
}

async function converted(source: string): Promise<Converted> {
  const path = join(freshFolder(root), 'model.gguf');
  const log: string[] = [];
  await convert(source, path, { logger: (line, level) => log.push(`${level}: ${line}`) });
  const { metadata, tensors } = readGguf(path);
  return {
    headCount: metadata.get('gpt2.attention.head_count'),
    notes: metadata.get('gpt2_native.conversion_notes'),
    tensors,
    log,
  };
}

let expected: Converted;
beforeAll(async () => {
  expected = await converted(plain);
});

/** A copy of a fixture in a folder of its own, with or without the config, in which settings may differ. */
function copied(name: string, hasConfig: boolean, as = name, settings = {}): string {
  const folder = freshFolder(root);
  mkdirSync(folder, { recursive: true });
  cpSync(join(training, name), join(folder, as));
  if (hasConfig) writeConfig(folder, settings);
  return folder;
}

function writeConfig(folder: string, settings: object): void {
  const config = JSON.parse(readFileSync(join(plain, 'config.json'), 'utf8'));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...settings }));
}

/** The plain model with other tensors. */
function changed(change: (tensors: Map<string, StoredTensor>) => void, settings = {}): string {
  const folder = freshFolder(root);
  mkdirSync(folder, { recursive: true });
  writeConfig(folder, settings);
  const tensors = readSafetensors(join(plain, 'model.safetensors'));
  change(tensors);
  writeSafetensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

function renamed(tensors: Map<string, StoredTensor>, rename: (name: string) => string): void {
  const entries = [...tensors];
  tensors.clear();
  for (const [name, tensor] of entries) tensors.set(rename(name), tensor);
}

test('the plain form gives the logits of the reference', async () => {
  const { tokens, logits } = JSON.parse(readFileSync(join(plain, 'logits.json'), 'utf8'));
  await using model = await loadModel(plain, { cacheDir: root });
  const { data } = await model.logits(tokens);
  const errors = logits.map((logit: number, i: number) => Math.abs(logit - (data[i] as number)));
  expect(Math.max(...errors)).toBeLessThan(1e-5);
});

describe('files of torch.save()', () => {
  test.each([
    'dataclass.pt',
    'objects.pt',
    'objects-protocol-4.pt',
    'objects-legacy.pt',
    'numpy-sizes.pt',
    'slots.pt',
  ])('%s has the sizes in objects beside the state dict', async (name) => {
    expect(await converted(copied(name, false))).toEqual(expected);
  });

  test.each(['lightning.ckpt', 'wrapped.pt', 'strided.bin', 'dialogpt.pkl', 'book-packed.pth'])(
    '%s',
    async (name) => {
      const folder = copied(name, true);
      expect(await converted(folder)).toEqual(expected);
      expect(await converted(join(folder, name))).toEqual(expected);
    },
  );

  test('tied.bin: the bytes that the head shares with the embedding count once', async () => {
    const { tensors } = await converted(copied('tied.bin', true, 'tied.bin', { vocab_size: 400 }));
    expect([...tensors.keys()]).toEqual([...expected.tensors.keys()]);
  });

  test('expanded.bin: rows beyond the size of the file are rejected before they are read', async () => {
    const vocab_size = 2 ** 31 - 1;
    const folder = copied('expanded.bin', true, 'expanded.bin', { vocab_size });
    const error = await failure('INVALID_FILE', () => converted(folder));
    expect(error.message).toMatch(/they overlap/);
  });

  test('float64.bin is rounded, which is said once', async () => {
    const { tensors, notes, log } = await converted(copied('float64.bin', true));
    expect(tensors).toEqual(expected.tensors);
    expect(notes).toEqual(['16 tensors are rounded from F64 to F32']);
    expect(log).toEqual([expect.stringMatching(/^warn: .*16 tensors are rounded/)]);
  });

  test.each<[string, RegExp]>([
    [
      'module.pt',
      /whole module, .*class torch\.nn\.modules\.linear\.Linear.*model\.state_dict\(\)/,
    ],
    ['numpy-weights.pt', /"h\.0\.ln_1\.weight" .* object of numpy\..*; save torch tensors/],
  ])('%s is rejected with advice', async (name, message) => {
    const folder = copied(name, true);
    const error = await failure('UNSUPPORTED_MODEL', () => converted(folder));
    expect(error.message).toMatch(message);
  });
});

describe('a tied head stored alone', () => {
  const headAlone = (tensors: Map<string, StoredTensor>) => {
    tensors.set('lm_head.weight', tensors.get('wte.weight') as StoredTensor);
    tensors.delete('wte.weight');
  };

  test('is the embedding too', async () => {
    expect(await converted(changed(headAlone))).toEqual(expected);
  });

  test('is the embedding too if safetensors.torch.save_model() says so', async () => {
    // save_model() sorts the names and keeps the first: lm_head.weight.
    const folder = changed((tensors) => {
      headAlone(tensors);
      renamed(tensors, (name) => (name.startsWith('lm_head') ? name : `transformer.${name}`));
    });
    const path = join(folder, 'model.safetensors');
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
    header.__metadata__ = { 'transformer.wte.weight': 'lm_head.weight', format: 'pt' };
    const text = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(path, Buffer.concat([size, text, bytes.subarray(8 + length)]));
    expect(await converted(folder)).toEqual(expected);
  });

  test('is rejected if the config says that it is not tied', async () => {
    const folder = changed(headAlone, { tie_word_embeddings: false });
    const error = await failure('INVALID_FILE', () => converted(folder));
    expect(error.message).toMatch(/"wte\.weight" is missing/);
  });

  test('is found under the names of the book', async () => {
    const bookNames: [RegExp, string][] = [
      [/^wpe\./, 'pos_emb.'],
      [/^h\.0\./, 'trf_blocks.0.'],
      [/ln_(\d)\.weight/, 'norm$1.scale'],
      [/ln_(\d)\.bias/, 'norm$1.shift'],
      [/attn\.c_attn/, 'att.qkv'],
      [/attn\.c_proj/, 'att.out_proj'],
      [/mlp\.c_fc/, 'ff.layers.0'],
      [/mlp\.c_proj/, 'ff.layers.2'],
      [/^ln_f\.weight/, 'final_norm.scale'],
      [/^ln_f\.bias/, 'final_norm.shift'],
      [/^lm_head\./, 'out_head.'],
    ];
    const folder = changed((tensors) => {
      headAlone(tensors);
      for (const [name, tensor] of tensors) {
        if (!/(c_attn|c_proj|c_fc)\.weight$/.test(name)) continue;
        const [rows = 0, columns = 0] = tensor.shape;
        const numbers = numbersOf(tensor);
        const transposed = Array.from(
          { length: rows * columns },
          (_, i) => numbers[(i % rows) * columns + Math.floor(i / rows)] as number,
        );
        tensors.set(name, f32Tensor([columns, rows], transposed));
      }
      renamed(tensors, (name) =>
        bookNames.reduce((text, [from, to]) => text.replace(from, to), name),
      );
    });
    expect(await converted(folder)).toEqual(expected);
  });
});

test.each([
  'transformer.',
  'model.transformer.',
  'module.model.gpt.',
  '_orig_mod.module.transformer.',
  'pretrained_model._forward_module.lm.transformer.',
])('names that begin with %s', async (prefix) => {
  const folder = changed((tensors) => renamed(tensors, (name) => prefix + name));
  expect(await converted(folder)).toEqual(expected);
});

test('a head lies beside the transformer at any level', async () => {
  for (const head of [
    'lm_head.weight',
    'model.lm_head.weight',
    'model.transformer.lm_head.weight',
  ]) {
    const folder = changed((tensors) => {
      renamed(tensors, (name) => `model.transformer.${name}`);
      tensors.set(head, tensors.get('model.transformer.wte.weight') as StoredTensor);
    });
    expect(await converted(folder)).toEqual(expected);
  }
});

describe('beside the weights', () => {
  const bytes = (length: number) => Buffer.alloc(length, 1);

  test.each<[string, string, StoredTensor]>([
    ['a mask in BOOL', 'h.0.attn.bias', { dtype: 'BOOL', shape: [1, 1, 6, 6], bytes: bytes(36) }],
    ['a mask in F8', 'h.0.attn.bias', { dtype: 'F8_E4M3', shape: [6, 6], bytes: bytes(36) }],
    ['a mask in a new type', 'h.0.attn.bias', { dtype: 'F4', shape: [6, 6], bytes: bytes(18) }],
    ['position ids', 'position_ids', { dtype: 'I64', shape: [1, 6], bytes: bytes(48) }],
    ['an empty tensor', 'something', { dtype: 'F32', shape: [0, 8], bytes: bytes(0) }],
    ['a bias of zeros on the head', 'lm_head.bias', f32Tensor([13], new Array(13).fill(0))],
    ['a bias of negative zeros', 'lm_head.bias', f32Tensor([13], new Array(13).fill(-0))],
  ])('%s is skipped', async (_, name, tensor) => {
    expect(await converted(changed((tensors) => tensors.set(name, tensor)))).toEqual(expected);
  });

  // Of the bytes of 2 ** -142, only the first is not 0: it is 0x80, as in the sign of -0.
  test.each([1e-40, 2 ** -142])('a bias on the head that holds %d is rejected', async (bias) => {
    const folder = changed((tensors) =>
      tensors.set('lm_head.bias', f32Tensor([13], [...new Array(12).fill(0), bias])),
    );
    const error = await failure('UNSUPPORTED_MODEL', () => converted(folder));
    expect(error.message).toMatch(/no bias, or one of zeros, but "lm_head\.bias"/);
  });

  test.each([
    'v_head.summary.weight',
    'multiple_choice_head.summary.bias',
    'score.weight',
    'pretrained_model.v_head.summary.weight',
  ])('the head for training %s is left out, which is said', async (name) => {
    const folder = changed((tensors) => {
      if (name.startsWith('pretrained')) {
        renamed(tensors, (each) => `pretrained_model.transformer.${each}`);
      }
      tensors.set(name, f32Tensor([1, 8], new Array(8).fill(1)));
    });
    const { tensors, notes, log } = await converted(folder);
    expect(tensors).toEqual(expected.tensors);
    expect(notes).toEqual([expect.stringContaining(name)]);
    expect(log).toEqual([expect.stringContaining(name)]);

    const lines: string[] = [];
    const loaded = await loadModel(folder, {
      cacheDir: freshFolder(root),
      logger: (line) => lines.push(line),
    });
    await loaded.dispose();
    expect(lines).toEqual([expect.stringContaining(name)]);
  });
});

test('gpt2 convert, quantize and inspect say what is left out', async () => {
  const folder = changed((tensors) =>
    tensors.set('score.weight', f32Tensor([2, 8], new Array(16).fill(1))),
  );
  const target = join(folder, 'out.gguf');
  const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
  for (const writing of [['convert'], ['quantize', '--type', 'f16']]) {
    const { stderr } = await runProcess([command, ...writing, folder, target]);
    expect(stderr).toMatch(/^gpt2: .*score\.weight\n$/);
  }
  const { stdout } = await runProcess([command, 'inspect', target]);
  expect(stdout).toMatch(/gpt2_native\.conversion_notes +left out.*score\.weight/);
});

describe('folders', () => {
  test.each(['weights.safetensors', 'x.bin', 'y.pkl', 'z.ckpt', 'a.pt', 'b.pth'])(
    'with the single file %s',
    async (name) => {
      const isSafetensors = name.endsWith('.safetensors');
      const folder = isSafetensors
        ? copied('plain/model.safetensors', true, name)
        : copied('lightning.ckpt', true, name);
      writeFileSync(join(folder, 'training_args.bin'), 'not weights');
      writeFileSync(join(folder, 'optimizer.pt'), 'not weights');
      writeFileSync(join(folder, 'rng_state_0.pth'), 'not weights');
      expect(await converted(folder)).toEqual(expected);
    },
  );

  test('with shards but no index', async () => {
    const folder = splitWeights(changed(() => {}));
    renameSync(join(folder, 'model.safetensors.index.json'), join(folder, 'gone.json'));
    expect(await converted(folder)).toEqual(expected);
    renameSync(
      join(folder, 'model-00002-of-00002.safetensors'),
      join(folder, 'model-00002-of-00002.gone'),
    );
    const error = await failure('FILE_NOT_FOUND', () => converted(folder));
    expect(error.message).toMatch(/expected 2 shards model-….* but found 1/);
    expect(readdirSync(folder)).toHaveLength(4);
  });
});

describe('the error names', () => {
  const hdf5 = Buffer.from('\x89HDF\r\n\x1a\n', 'latin1');
  const llmc = Buffer.alloc(1024);
  llmc.writeInt32LE(20240326);

  test.each<[string, string, Buffer | string, ErrorCode, RegExp]>([
    [
      'a Git LFS pointer',
      'model.safetensors',
      'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 548118077\n',
      'INVALID_FILE',
      /Git LFS pointer.*git lfs pull/,
    ],
    [
      'an HTML page',
      'pytorch_model.bin',
      '\n<!DOCTYPE html><html>404',
      'INVALID_FILE',
      /HTML page/,
    ],
    ["llm.c's checkpoint", 'gpt2_124M.bin', llmc, 'UNSUPPORTED_MODEL', /llm\.c's checkpoint/],
    ['an old ggml file', 'ggml-model.bin', 'lmgg\x01\0\0\0', 'UNSUPPORTED_MODEL', /gpt2 convert/],
    ['a newer ggml file', 'ggml-model.bin', 'tjgg\x01\0\0\0', 'UNSUPPORTED_MODEL', /gpt2 convert/],
    ['a Keras file', 'tf_model.h5', hdf5, 'UNSUPPORTED_MODEL', /HDF5.*from_tf=True/],
    ['a Flax file', 'flax_model.msgpack', '\x81', 'UNSUPPORTED_MODEL', /Flax.*from_flax=True/],
    ['an ONNX file', 'model.onnx', '\x08\x07', 'UNSUPPORTED_MODEL', /ONNX/],
  ])('%s', async (_, name, content, code, message) => {
    const folder = freshFolder(root);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), content, 'latin1');
    cpSync(join(plain, 'config.json'), join(folder, 'config.json'));
    const path = join(folder, name);
    const loading = { cacheDir: root };
    expect((await failure(code, () => loadModel(path, loading))).message).toMatch(message);
    expect((await failure(code, () => converted(path))).message).toMatch(message);
    if (/bin$|safetensors$/.test(name)) {
      expect((await failure(code, () => loadModel(folder, loading))).message).toMatch(message);
    }
  });

  test.each<[string, RegExp]>([
    ['flax_model.msgpack', /Flax weights: .*from_flax=True/],
    ['tf_model.h5', /Keras weights: .*from_tf=True/],
    ['decoder_model.onnx', /ONNX files/],
    ['adapter_model.safetensors', /a PEFT adapter: .*loadModel\(base/],
  ])('%s in a folder without weights', async (name, message) => {
    const folder = copied('plain/config.json', false, name);
    const error = await failure('FILE_NOT_FOUND', () => loadModel(folder, { cacheDir: root }));
    expect(error.message).toMatch(message);
  });

  test('the first tensors if their names are unknown', async () => {
    const folder = changed((tensors) =>
      renamed(tensors, (name) => `blocks.${name.replace('w', 'v')}`),
    );
    const error = await failure('UNSUPPORTED_MODEL', () => converted(folder));
    expect(error.message).toMatch(
      /expected the tensors of a GPT-2, .* but found "blocks\.vte\.veight"|found "blocks\./,
    );
  });

  test('the first tensors if the layers have unknown names', async () => {
    const folder = copied('book-packed.pth', false);
    const path = join(folder, 'book-packed.pth');
    const text = readFileSync(path).toString('latin1').replaceAll('trf_blocks', 'xyz_blocks');
    writeFileSync(path, text, 'latin1');
    const error = await failure('UNSUPPORTED_MODEL', () => converted(folder));
    expect(error.message).toMatch(
      /expected layers with the tensor "trf_blocks\.0\.norm1\.scale" .* but found "xyz_blocks\.0\./,
    );
  });
});
