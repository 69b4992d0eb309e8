import { addon } from '../native/addon.js';
import type { Gpt2Module, ModelSize, ModuleRole } from '../native/types.js';

/** The sizes that decide which tensors a GPT-2 has. */
export interface ModelSizes extends Record<ModelSize, number> {
  layerCount: number;
}

/** What a tensor is for. */
export interface TensorRole {
  module: Gpt2Module;
  /** undefined outside the layers */
  layer: number | undefined;
  parameter: 'weight' | 'bias';
}

/** A matrix of `rows` rows, or a vector, of `rowLength` numbers. */
export interface ModelTensor extends TensorRole {
  /** in GGUF */
  name: string;
  rowLength: number;
  rows: number;
  isVector: boolean;
}

/**
 * All tensors that a GPT-2 can have, from input to output. One after the other, since a config may claim
 * millions of layers.
 */
export function* modelTensors(sizes: ModelSizes): Generator<ModelTensor, void, void> {
  const modules = addon().gpt2Modules;
  const inLayer = modules.filter(({ place }) => place === 'layer');
  for (const module of modules) {
    if (module.place !== 'layer') yield* tensorsOf(module, undefined, sizes);
    if (module !== inLayer[0]) continue;
    for (let i = 0; i < sizes.layerCount; i++) {
      for (const each of inLayer) yield* tensorsOf(each, i, sizes);
    }
  }
}

/** The tensors of a GPT-2 whose head is its token embedding. */
export function* tiedModelTensors(sizes: ModelSizes): Generator<ModelTensor, void, void> {
  for (const tensor of modelTensors(sizes)) {
    if (tensor.module.role !== 'head') yield tensor;
  }
}

function tensorsOf(
  module: Gpt2Module,
  layer: number | undefined,
  sizes: ModelSizes,
): ModelTensor[] {
  const extent = ({ size, factor }: Gpt2Module['in']) => factor * sizes[size];
  const tensor = (parameter: TensorRole['parameter'], isVector: boolean): ModelTensor => ({
    module,
    layer,
    parameter,
    name: `${module.name.replace('{}', String(layer))}.${parameter}`,
    rowLength: extent(isVector ? module.out : module.in),
    rows: isVector ? 1 : extent(module.out),
    isVector,
  });
  const weight = tensor('weight', module.kind === 'norm');
  return module.kind === 'table' ? [weight] : [weight, tensor('bias', true)];
}

/** What a tensor of this name in GGUF is for; undefined if it is not part of a GPT-2. */
export function tensorRole(name: string): TensorRole | undefined {
  const parts = name.split('.');
  const parameter = parts.pop();
  const number = Number(parts[1]);
  const layer = Number.isSafeInteger(number) && String(number) === parts[1] ? number : undefined;
  if (layer !== undefined) parts[1] = '{}';
  const moduleName = parts.join('.');
  const module = addon().gpt2Modules.find((each) => each.name === moduleName);
  if (module && (parameter === 'weight' || (parameter === 'bias' && module.kind !== 'table'))) {
    return { module, layer, parameter };
  }
  return undefined;
}

/** The name in GGUF of the weight of a module outside the layers. */
export function weightName(role: ModuleRole): string {
  const module = addon().gpt2Modules.find((each) => each.role === role);
  return `${module?.name}.weight`;
}
