import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { reading, readJsonObject } from '../files.js';
import { InputFile } from '../input-file.js';
import { foreignStartBytes, foreignWeights, refuseForeign } from './foreign-files.js';

/** The files of a checkpoint, by name within one folder. */
export interface CheckpointFiles {
  folder: string;
  /** The files with the tensors. For a TensorFlow checkpoint, the index, which refers to the data files. */
  weights: readonly string[];
  isTensorflow: boolean;
}

/** The first bytes of both formats of torch.save(): a ZIP archive, and a pickle of a ten-byte magic number. */
export const pytorchStarts: readonly string[] = ['PK\x03\x04', '\x80\x02\x8a\x0a'];

/** The config and vocabulary files beside the weights of OpenAI's release. */
const openAiCompanions: readonly string[] = ['hparams.json', 'encoder.json', 'vocab.bpe'];
/** The config and vocabulary files beside all other weights. */
export const usualCompanions: readonly string[] = [
  'config.json',
  'generation_config.json',
  'vocab.json',
  'merges.txt',
  'added_tokens.json',
  'special_tokens_map.json',
  'tokenizer_config.json',
  'tokenizer.json',
];
export const companionFiles: readonly string[] = [...usualCompanions, ...openAiCompanions];

const tensorflowIndex = /\.index$/;
const usualTensorflowIndex = /\.ckpt(-\d+)?\.index$/;
const pytorchFile = /\.(pt|pth|bin|pkl|ckpt)$/;
/** A PyTorch file that does not have its usual name. */
export const loosePytorchFile = /^(?!pytorch_model).*\.(pt|pth|bin|pkl|ckpt)$/;
// What training programs save beside the weights, and adapters, which are no models of their own.
const notWeights =
  /^(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|adapter_model|adapter)\b|^(rng_state|random_states)_|optim_states\.pt$|^optimizer/;
const shard = /^(.+)-(\d{5})-of-(\d{5})(\.(?:safetensors|bin))$/;

/** Whether a file holds the weights of a checkpoint; false for GGUF files, which the engine opens itself. */
export async function isCheckpointFile(
  path: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (path.endsWith('.gguf')) return false;
  if (path.endsWith('.safetensors') || tensorflowIndex.test(path)) return true;
  const start = await startOf(path, signal);
  const text = start.toString('latin1');
  if (pytorchStarts.some((known) => text.startsWith(known))) return true;
  refuseForeign(path, start);
  return false;
}

/** Whether a file is a GGUF file, by its first bytes. */
export async function isGgufFile(path: string, signal: AbortSignal | undefined): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return (
    found?.isFile() === true && (await startOf(path, signal)).toString('latin1', 0, 4) === 'GGUF'
  );
}

async function startOf(path: string, signal: AbortSignal | undefined): Promise<Buffer> {
  const file = await InputFile.open(path, signal);
  try {
    return await file.read(0, Math.min(foreignStartBytes, file.size));
  } finally {
    file.close();
  }
}

/**
 * Finds the files of a checkpoint.
 *
 * @param source the folder or the file with the weights
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE, INVALID_ARGUMENT if the weights are ambiguous
 */
export async function findCheckpointFiles(source: string): Promise<CheckpointFiles> {
  const found = await reading(source, async () => await stat(source));
  if (!found.isDirectory()) {
    const name = basename(source);
    return {
      folder: dirname(source),
      weights: [name],
      isTensorflow: tensorflowIndex.test(name),
    };
  }
  const names = await reading(source, async () => await readdir(source));
  const choice = chooseWeights(source, names);
  if (!choice) {
    throw new Gpt2Error(
      'FILE_NOT_FOUND',
      `${source}: there is no checkpoint in this folder (${knownForms})${foreignWeights(names)}`,
    );
  }
  const { shardIndex, isTensorflow } = choice;
  const weights = shardIndex ? await readShardIndex(source, shardIndex) : choice.weights;
  return { folder: source, weights, isTensorflow };
}

/** The supported checkpoint files, for error messages. */
export const knownForms =
  'model.safetensors, pytorch_model.bin, model.ckpt.index, or one .safetensors, .bin, .pt, .pth, .pkl or .ckpt file';

/** The files that hold the weights. */
export interface WeightChoice {
  weights: readonly string[];
  /** The file that lists the shards, if the weights are sharded; `weights` is then empty. */
  shardIndex?: string;
  isTensorflow: boolean;
}

/**
 * Chooses the weights among the files of a folder or repository. Returns undefined if there are none.
 * @param place the folder or repository, for error messages
 */
export function chooseWeights(place: string, names: readonly string[]): WeightChoice | undefined {
  // The single file takes precedence, as in Hugging Face's loader: the index may be stale.
  for (const single of ['model.safetensors', 'pytorch_model.bin']) {
    if (names.includes(single)) return { weights: [single], isTensorflow: false };
    const shardIndex = `${single}.index.json`;
    if (names.includes(shardIndex)) return { weights: [], shardIndex, isTensorflow: false };
  }
  const indices = names.filter(
    (name) =>
      usualTensorflowIndex.test(name) ||
      (tensorflowIndex.test(name) && tensorflowData(names, name).length > 0),
  );
  if (indices.length > 0) {
    return { weights: [onlyOne(place, indices, 'TensorFlow checkpoint')], isTensorflow: true };
  }
  const candidates = names.filter((name) => !notWeights.test(name));
  for (const [pattern, what] of [
    [/\.safetensors$/, 'safetensors file'],
    [pytorchFile, 'PyTorch file'],
  ] as const) {
    const files = candidates.filter((name) => pattern.test(name));
    const shards = shardsWithoutIndex(place, files);
    if (shards) return { weights: shards, isTensorflow: false };
    if (files.length > 0) {
      return { weights: [onlyOne(place, files, what)], isTensorflow: false };
    }
  }
  return undefined;
}

/** All shards, if the files are those of one sharded model. */
function shardsWithoutIndex(place: string, files: readonly string[]): string[] | undefined {
  const first = files.map((name) => shard.exec(name)).find((match) => match !== null);
  if (!first) return undefined;
  const [, name, , count, extension] = first;
  const total = Number(count);
  const start = `${name}-`;
  const end = `-of-${count}${extension}`;
  if (!files.every((file) => file.startsWith(start) && file.endsWith(end))) return undefined;
  if (files.length !== total) {
    throw new Gpt2Error(
      'FILE_NOT_FOUND',
      `${place}: expected ${total} shards ${name}-…${end} but found ${files.length}`,
    );
  }
  return [...files].sort();
}

/** The data files of a TensorFlow checkpoint. */
export function tensorflowData(names: readonly string[], index: string): string[] {
  const prefix = index.replace(tensorflowIndex, '.data-');
  return names.filter((name) => name.startsWith(prefix)).sort();
}

function onlyOne(place: string, names: readonly string[], kind: string): string {
  if (names.length > 1) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      `${place}: expected one ${kind} but found ${[...names].sort().slice(0, 5).join(', ')}; pass the path of one of them`,
    );
  }
  return names[0] as string;
}

/** Reads the names of the shards from their index. */
export async function readShardIndex(folder: string, index: string): Promise<string[]> {
  const path = join(folder, index);
  const map = (await readJsonObject(path))?.weight_map;
  const names = typeof map === 'object' && map !== null ? Object.values(map) : [];
  // Shards have the format in the index's name and are in the same folder.
  const pattern = index.includes('.safetensors') ? /^[^/\\]+\.safetensors$/ : /^[^/\\]+\.bin$/;
  const isName = (name: unknown) => typeof name === 'string' && pattern.test(name);
  if (names.length === 0 || !names.every(isName)) {
    throw new Gpt2Error('INVALID_FILE', `${path}: expected a weight_map of file names`);
  }
  return [...new Set(names as string[])].sort();
}
