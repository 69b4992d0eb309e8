import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { WeightEntry } from './weight-entry.js';
import { occursTwice } from './weight-files.js';

// Names and methods: https://github.com/huggingface/peft, src/peft/tuners and src/peft/utils/save_and_load.py

/** The two matrices by which LoRA changes a module. */
export interface LoraPair {
  /** `lora_A`, [rank, in]; of an embedding [rank, rows] */
  a?: WeightEntry;
  /** `lora_B`, [out, rank]; of an embedding [numbers per row, rank] */
  b?: WeightEntry;
  isEmbedding: boolean;
}

/** The tensors of a PEFT model or adapter, by the names that they have without PEFT. */
export interface PeftTensors {
  /** The tensors of the base model. In an adapter, those that replace the base model's. */
  weights: Map<string, WeightEntry>;
  /** Modules of the base model that have a trained copy. */
  originals: Map<string, WeightEntry>;
  /** Trained copies of modules (`modules_to_save`). */
  copies: Map<string, WeightEntry>;
  /** By the name of the module. */
  pairs: Map<string, LoraPair>;
}

// From its last occurrence on; searched for by hand, since a name may be long.
const loraStart = '.lora_';
const loraMatrix = /^\.lora_(embedding_)?([AB])((?:\.[^.]+)*)$/;

// Tensors that change a model in another way than LoRA.
const otherMethods: readonly [RegExp, string][] = [
  [/\.lora_magnitude_vector\b/, 'DoRA'],
  [/\.lora_E\b/, 'AdaLoRA'],
  [/\.ia3_l\b/, 'IA3'],
  [/\.hada_[wt]\d/, 'LoHa'],
  [/\.lokr_[wt]\d/, 'LoKr'],
  [/\.(oft_|boft_)/, 'OFT'],
  [/\bvera_/, 'VeRA'],
  [/\bvblora_/, 'VB-LoRA'],
  [/\.fourierft_/, 'FourierFT'],
  [/\.(token_adapter|trainable_tokens)/, 'trainable tokens'],
  [/(^|\.)(prompt_embeddings|prompt_encoder|prefix_task_(cols|rows))\b/, 'prompt tuning'],
];

/** The error for a PEFT method that cannot be merged. */
export function unsupportedMethod(path: string, method: string): Gpt2Error {
  return new Gpt2Error(
    'UNSUPPORTED_MODEL',
    `${path}: expected LoRA but found ${method}; merge it in Python: peft.AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload().save_pretrained("merged")`,
  );
}

/**
 * Sorts the tensors of a checkpoint by their place in PEFT's wrappers.
 *
 * @throws UNSUPPORTED_MODEL for other methods than LoRA, and for several adapters in one file
 */
export function peftTensors(path: string, entries: ReadonlyMap<string, WeightEntry>): PeftTensors {
  const weights: PeftTensors['weights'] = new Map();
  const originals: PeftTensors['originals'] = new Map();
  const copies: PeftTensors['copies'] = new Map();
  const pairs: PeftTensors['pairs'] = new Map();
  // The state dict of a PEFT model contains the name of the adapter in its names; save_pretrained() removes it.
  const adapters = new Set<string>();
  const noteAdapter = (name: string) => {
    if (adapters.add(name).size === 1) return;
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${path}: expected one adapter but found several (${[...adapters].map(show).join(', ')}); save the one to be used`,
    );
  };
  const add = (map: Map<string, WeightEntry>, modules: readonly string[], entry: WeightEntry) => {
    const name = modules.join('.');
    if (map.has(name)) throw occursTwice(path, name);
    map.set(name, entry);
  };
  for (const [name, entry] of entries) {
    const other = otherMethods.find(([pattern]) => pattern.test(name));
    if (other) throw unsupportedMethod(path, `${other[1]} (the tensor "${name}")`);
    const start = name.lastIndexOf(loraStart);
    const [, embedding, side, rest = ''] =
      (start > 0 ? loraMatrix.exec(name.slice(start)) : undefined) ?? [];
    if (side !== undefined) {
      if (rest.endsWith('.bias')) throw unsupportedMethod(path, `lora_bias (the tensor "${name}")`);
      noteAdapter(rest.replace(/\.weight$/, '').slice(1));
      const module = name.slice(0, start);
      const pair = pairs.get(module) ?? { isEmbedding: embedding !== undefined };
      const key = side === 'A' ? 'a' : 'b';
      if (pair[key] || pair.isEmbedding !== (embedding !== undefined))
        throw occursTwice(path, name);
      pairs.set(module, { ...pair, [key]: entry });
      continue;
    }
    const modules = name.split('.').filter((module) => module !== 'base_layer');
    const at = modules.indexOf('modules_to_save');
    if (at === -1) {
      const own = modules.filter((module) => module !== 'original_module');
      add(own.length < modules.length ? originals : weights, own, entry);
      continue;
    }
    const [adapter = '', ...inCopy] = modules.slice(at + 1);
    if (inCopy.length > 0) noteAdapter(adapter);
    add(copies, [...modules.slice(0, at), ...(inCopy.length > 0 ? inCopy : [adapter])], entry);
  }
  return { weights, originals, copies, pairs };
}
