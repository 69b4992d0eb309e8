import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { fileError, readJsonObject } from './files.js';
import { pytorchStarts } from './pytorch.js';
import { WeightFile } from './weight-file.js';

/** The files that a checkpoint consists of, by their names in one folder. */
export interface CheckpointFiles {
  folder: string;
  /** the index of a TensorFlow checkpoint, whose files of data it leads to, or files of tensors */
  weights: readonly string[];
  isTensorflow: boolean;
}

/** What may stand beside the weights: the config, in three forms, and the vocabulary. */
export const companionFiles: readonly string[] = [
  'config.json',
  'hparams.json',
  'vocab.json',
  'merges.txt',
  'encoder.json',
  'vocab.bpe',
  'added_tokens.json',
  'tokenizer.json',
];

const tensorflowIndex = /\.index$/;
const usualTensorflowIndex = /\.ckpt(-\d+)?\.index$/;
const pytorchFile = /\.(pt|pth|bin)$/;

/** Whether a file is the weights of a checkpoint and no GGUF file, which the engine opens itself. */
export async function isCheckpointFile(
  path: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (path.endsWith('.gguf')) return false;
  if (path.endsWith('.safetensors') || tensorflowIndex.test(path)) return true;
  const start = await startOf(path, signal);
  return pytorchStarts.some((known) => start.startsWith(known));
}

/** Whether a path leads to a GGUF file, whatever its name is. */
export async function isGgufFile(path: string, signal: AbortSignal | undefined): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && (await startOf(path, signal)).startsWith('GGUF');
}

async function startOf(path: string, signal: AbortSignal | undefined): Promise<string> {
  const file = await WeightFile.open(path, signal);
  try {
    return (await file.read(0, Math.min(4, file.size))).toString('latin1');
  } finally {
    file.close();
  }
}

/** The files of a checkpoint that is given as a folder or as the file with its weights. */
export async function findCheckpointFiles(source: string): Promise<CheckpointFiles> {
  const found = await stat(source).catch((error) => {
    throw fileError(source, error);
  });
  if (!found.isDirectory()) {
    const name = basename(source);
    return {
      folder: dirname(source),
      weights: [name],
      isTensorflow: tensorflowIndex.test(name),
    };
  }
  const names = await readdir(source).catch((error) => {
    throw fileError(source, error);
  });
  const files = (weights: readonly string[], isTensorflow = false) => ({
    folder: source,
    weights,
    isTensorflow,
  });
  // The single file first, as Hugging Face's loader does: an index may be left over.
  for (const single of ['model.safetensors', 'pytorch_model.bin']) {
    if (names.includes(single)) return files([single]);
    const index = `${single}.index.json`;
    if (names.includes(index)) return files(await readShardIndex(source, index));
  }
  const hasData = (index: string) =>
    names.some((name) => name.startsWith(index.replace(tensorflowIndex, '.data-')));
  const indices = names.filter(
    (name) => usualTensorflowIndex.test(name) || (tensorflowIndex.test(name) && hasData(name)),
  );
  if (indices.length > 0) return files([onlyOne(source, indices, 'TensorFlow checkpoint')], true);
  const others = names.filter((name) => pytorchFile.test(name));
  if (others.length > 0) return files([onlyOne(source, others, 'file of PyTorch')]);
  throw new Gpt2Error(
    'FILE_NOT_FOUND',
    `${source}: there is no checkpoint in this folder (model.safetensors, pytorch_model.bin, model.ckpt.index, or a file .pt or .pth)`,
  );
}

function onlyOne(folder: string, names: readonly string[], what: string): string {
  if (names.length > 1) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `${folder}: expected one ${what} in this folder but found ${[...names].sort().slice(0, 5).join(', ')}; name the file`,
    );
  }
  return names[0] as string;
}

/** The shards that an index lists. */
async function readShardIndex(folder: string, index: string): Promise<string[]> {
  const path = join(folder, index);
  const map = (await readJsonObject(path))?.weight_map;
  const names = typeof map === 'object' && map !== null ? Object.values(map) : [];
  // Of the same kind as the index, in the same folder.
  const pattern = index.includes('.safetensors') ? /^[^/\\]+\.safetensors$/ : /^[^/\\]+\.bin$/;
  const isName = (name: unknown) => typeof name === 'string' && pattern.test(name);
  if (names.length === 0 || !names.every(isName)) {
    throw new Gpt2Error('INVALID_FILE', `${path}: expected a weight_map of file names`);
  }
  return [...new Set(names as string[])].sort();
}
