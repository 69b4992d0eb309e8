import {
  chooseWeights,
  loosePytorchFile,
  readShardIndex,
  tensorflowData,
} from '../checkpoint/checkpoint-files.js';
import type { WeightType } from '../gguf/tensor-types.js';
import { chooseGguf, ggufModels } from './gguf-choice.js';

/** The files of a repository that hold a model's weights. */
export interface FileChoice {
  /** In download order: TensorFlow's index last, since it refers to the data; GGUF parts in order. */
  weights: readonly string[];
  /** The file that lists the shards, if the weights are sharded; `weights` is then empty. */
  shardIndex?: string;
  form: 'checkpoint' | 'tensorflow' | 'gguf';
}

/**
 * Chooses a model's weights: a checkpoint in the preferred format, otherwise a GGUF file. Returns undefined if there
 * are none.
 * @param place the folder or repository, for error messages
 */
export function chooseFiles(
  place: string,
  names: readonly string[],
  type: WeightType | undefined,
  file?: string,
): FileChoice | undefined {
  if (file !== undefined) {
    if (!names.includes(file)) return undefined;
    return { weights: [file], form: file.endsWith('.gguf') ? 'gguf' : 'checkpoint' };
  }
  // Beside GGUF files, a .bin file is an importance matrix for quantising, not a model.
  const hasGguf = ggufModels(names).length > 0;
  const choice = chooseWeights(
    place,
    hasGguf ? names.filter((name) => !loosePytorchFile.test(name)) : names,
  );
  if (!choice) {
    const weights = chooseGguf(place, names, type);
    return weights && { weights, form: 'gguf' };
  }
  const { weights, shardIndex, isTensorflow } = choice;
  if (!isTensorflow) return { weights, shardIndex, form: 'checkpoint' };
  const data = tensorflowData(names, weights[0] as string);
  return { weights: [...data, ...weights], form: 'tensorflow' };
}

/** Whether all chosen weights are among the files of a folder. */
export async function hasAllWeights(
  folder: string,
  names: readonly string[],
  { shardIndex, weights }: FileChoice,
): Promise<boolean> {
  const all = shardIndex ? await readShardIndex(folder, shardIndex) : weights;
  return all.every((file) => names.includes(file));
}
