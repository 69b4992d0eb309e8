import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessAborted } from '../abort.js';
import { Gpt2Error } from '../errors.js';
import type { CheckpointConfig } from './checkpoint-config.js';
import { readJsonObject } from './files.js';
import { type SafetensorsEntry, SafetensorsFile } from './safetensors.js';

/** A tensor of a checkpoint, matched to its place in the model. */
export interface CheckpointTensor {
  /** in GGUF */
  name: string;
  file: SafetensorsFile;
  entry: SafetensorsEntry;
  dtype: 'F32' | 'F16' | 'BF16';
  /** as the checkpoint has it: rows × columns; a vector is one row */
  rows: number;
  columns: number;
  /** whether GGUF wants columns as rows */
  transpose: boolean;
}

/** The tensors of a Hugging Face folder: all that a GPT-2 of its config has, and nothing else. */
export interface Checkpoint {
  tensors: CheckpointTensor[];
  /** GGUF names of biases that the checkpoint does not have, with their lengths. */
  absentBiases: { name: string; length: number }[];
  close(): void;
}

export async function openCheckpoint(
  folder: string,
  config: CheckpointConfig,
  signal: AbortSignal | undefined,
): Promise<Checkpoint> {
  const files = await openFiles(folder, signal);
  const close = () => {
    for (const file of files) file.close();
  };
  try {
    return { ...(await matchTensors(folder, files, config)), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The names of a folder's weight files: one, or the shards that its index lists. */
export async function weightFiles(folder: string): Promise<string[]> {
  // The single file first, as Hugging Face's loader does: an index may be left over.
  const single = await stat(join(folder, 'model.safetensors')).catch(() => undefined);
  if (single) return ['model.safetensors'];
  const indexPath = join(folder, 'model.safetensors.index.json');
  const index = await readJsonObject(indexPath);
  if (!index) return ['model.safetensors'];
  const map = index.weight_map;
  const names = typeof map === 'object' && map !== null ? Object.values(map) : [];
  const isName = (name: unknown) => typeof name === 'string' && /^[^/\\]+\.safetensors$/.test(name);
  if (names.length === 0 || !names.every(isName)) {
    throw new Gpt2Error('INVALID_FILE', `${indexPath}: expected a weight_map of file names`);
  }
  return [...new Set(names as string[])].sort();
}

async function openFiles(
  folder: string,
  signal: AbortSignal | undefined,
): Promise<SafetensorsFile[]> {
  const files: SafetensorsFile[] = [];
  try {
    for (const name of await unlessAborted(signal, weightFiles(folder))) {
      files.push(await SafetensorsFile.open(join(folder, name), signal));
    }
    return files;
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

interface ExpectedTensor {
  source: string;
  name: string;
  shape: number[];
  transpose: boolean;
}

// Hugging Face's names with their shapes there. Linear layers are Conv1D: weights are [in, out].
// One after the other, since a file may claim millions of layers: the first that it lacks ends it.
function* expectedTensors(config: CheckpointConfig): Generator<ExpectedTensor, void, void> {
  const { embeddingLength: width, feedForwardLength: inner } = config;
  const linear = (source: string, name: string, from: number, to: number) => [
    {
      source: `${source}.weight`,
      name: `${name}.weight`,
      shape: [from, to],
      transpose: true,
    },
    {
      source: `${source}.bias`,
      name: `${name}.bias`,
      shape: [to],
      transpose: false,
    },
  ];
  const norm = (source: string, name: string) => [
    {
      source: `${source}.weight`,
      name: `${name}.weight`,
      shape: [width],
      transpose: false,
    },
    {
      source: `${source}.bias`,
      name: `${name}.bias`,
      shape: [width],
      transpose: false,
    },
  ];
  const table = (source: string, name: string, rows: number) => ({
    source,
    name,
    shape: [rows, width],
    transpose: false,
  });
  yield table('wte.weight', 'token_embd.weight', config.vocabSize);
  yield table('wpe.weight', 'position_embd.weight', config.contextLength);
  for (let i = 0; i < config.layerCount; i++) {
    yield* norm(`h.${i}.ln_1`, `blk.${i}.attn_norm`);
    yield* linear(`h.${i}.attn.c_attn`, `blk.${i}.attn_qkv`, width, 3 * width);
    yield* linear(`h.${i}.attn.c_proj`, `blk.${i}.attn_output`, width, width);
    yield* norm(`h.${i}.ln_2`, `blk.${i}.ffn_norm`);
    yield* linear(`h.${i}.mlp.c_fc`, `blk.${i}.ffn_up`, width, inner);
    yield* linear(`h.${i}.mlp.c_proj`, `blk.${i}.ffn_down`, inner, width);
  }
  yield* norm('ln_f', 'output_norm');
  yield table('lm_head.weight', 'output.weight', config.vocabSize);
}

// Causal masks that older checkpoints carry along; they are not weights.
const maskBuffer = /^h\.\d+\.attn\.(bias|masked_bias)$/;

async function matchTensors(
  folder: string,
  files: readonly SafetensorsFile[],
  config: CheckpointConfig,
): Promise<Pick<Checkpoint, 'tensors' | 'absentBiases'>> {
  const found = new Map<string, { file: SafetensorsFile; entry: SafetensorsEntry }>();
  for (const file of files) {
    for (const [fullName, entry] of file.entries) {
      const source = fullName.replace(/^transformer\./, '');
      if (maskBuffer.test(source)) continue;
      if (found.has(source)) {
        throw new Gpt2Error('INVALID_FILE', `${file.path}: the tensor "${source}" occurs twice`);
      }
      found.set(source, { file, entry });
    }
  }
  // Checked before anything is sized by it: every layer has at least its eight weights.
  if (config.layerCount > found.size) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${folder}: n_layer is ${config.layerCount}, but there are only ${found.size} tensors`,
    );
  }

  const tensors: CheckpointTensor[] = [];
  const absentBiases: Checkpoint['absentBiases'] = [];
  for (const { source, name, shape, transpose } of expectedTensors(config)) {
    const match = found.get(source);
    found.delete(source);
    if (!match) {
      if (source.endsWith('.bias')) {
        absentBiases.push({ name, length: shape[0] as number });
      } else if (source !== 'lm_head.weight') {
        throw new Gpt2Error('INVALID_FILE', `${folder}: the tensor "${source}" is missing`);
      } else if (config.headIsTied === false) {
        throw new Gpt2Error(
          'INVALID_FILE',
          `${folder}: tie_word_embeddings is false, but the tensor "lm_head.weight" is missing`,
        );
      }
      continue;
    }
    tensors.push(checkTensor(source, name, match.file, match.entry, shape, transpose));
  }
  const surplus = found.keys().next();
  if (!surplus.done) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${folder}: it holds the tensor "${surplus.value}", which is not part of a GPT-2 of ${config.layerCount} layers`,
    );
  }
  return {
    tensors: await withoutCopiedHead(folder, tensors, config),
    absentBiases,
  };
}

function checkTensor(
  source: string,
  name: string,
  file: SafetensorsFile,
  entry: SafetensorsEntry,
  shape: number[],
  transpose: boolean,
): CheckpointTensor {
  if (entry.shape.length !== shape.length || shape.some((size, i) => size !== entry.shape[i])) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${file.path}: expected the tensor "${source}" to have the shape [${shape.join(', ')}] but found [${entry.shape.join(', ')}]`,
    );
  }
  const { dtype } = entry;
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: expected the tensor "${source}" to be F32, F16 or BF16 but found ${dtype}`,
    );
  }
  const [rows, columns] = shape.length === 1 ? [1, shape[0]] : shape;
  return {
    name,
    file,
    entry,
    dtype,
    rows: rows as number,
    columns: columns as number,
    transpose,
  };
}

// A tied head is sometimes written out as well; the copy is left out.
async function withoutCopiedHead(
  folder: string,
  tensors: CheckpointTensor[],
  config: CheckpointConfig,
): Promise<CheckpointTensor[]> {
  const head = tensors.find((tensor) => tensor.name === 'output.weight');
  const embedding = tensors.find((tensor) => tensor.name === 'token_embd.weight');
  if (!head || !embedding) return tensors;
  if (await areEqual(head, embedding)) return tensors.filter((tensor) => tensor !== head);
  if (config.headIsTied) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${folder}: tie_word_embeddings is true, but "lm_head.weight" differs from "wte.weight"`,
    );
  }
  return tensors;
}

async function areEqual(a: CheckpointTensor, b: CheckpointTensor): Promise<boolean> {
  if (a.dtype !== b.dtype) return false;
  const chunk = 1 << 24;
  for (let start = 0; start < a.entry.byteSize; start += chunk) {
    const length = Math.min(chunk, a.entry.byteSize - start);
    const [left, right] = await Promise.all([
      a.file.read(a.entry, start, length),
      b.file.read(b.entry, start, length),
    ]);
    if (Buffer.compare(left, right) !== 0) return false;
  }
  return true;
}
