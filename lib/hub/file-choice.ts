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
  /** of TensorFlow's the index last, which leads to the others; of GGUF files the first part first */
  weights: readonly string[];
  /** the file that lists the shards, which are the weights then */
  shardIndex?: string;
  form: 'checkpoint' | 'tensorflow' | 'gguf';
}

/**
 * Chooses a model's weights: a checkpoint in its best form, or else a GGUF file; undefined if there are none.
 * @param place where the files are, for errors
 */
export function chooseFiles(
  place: string,
  names: readonly string[],
  type: WeightType | undefined,
): FileChoice | undefined {
  // Beside GGUF files, a .bin is no model but what quantising them needed.
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

/** Whether all weights that were chosen are among the files of a folder. */
export async function hasAllWeights(
  folder: string,
  names: readonly string[],
  { shardIndex, weights }: FileChoice,
): Promise<boolean> {
  const all = shardIndex ? await readShardIndex(folder, shardIndex) : weights;
  return all.every((file) => names.includes(file));
}
