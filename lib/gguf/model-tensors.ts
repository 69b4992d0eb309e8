import { addon } from '../native/addon.js';
import type { Gpt2Module, ModelSize, ModuleRole } from '../native/types.js';

/** The sizes that determine the tensors of a GPT-2 and their shapes. */
export interface ModelSizes extends Record<ModelSize, number> {
  layerCount: number;
}

/** The module, layer and parameter of a tensor. */
export interface TensorRole {
  module: Gpt2Module;
  /** The index of the layer. Undefined outside the layers. */
  layer: number | undefined;
  parameter: 'weight' | 'bias';
}

/** A matrix with `rows` rows of `rowLength` elements, or a vector with `rowLength` elements. */
export interface ModelTensor extends TensorRole {
  /** The name in GGUF. */
  name: string;
  rowLength: number;
  rows: number;
  isVector: boolean;
}

/**
 * Yields all tensors that a GPT-2 can have, from input to output. This is a generator because a config may claim
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

/** Yields the tensors of a GPT-2 whose head is the token embedding. */
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

/** Parses the name of a tensor in GGUF. Returns undefined if it is not part of a GPT-2. */
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

/** The GGUF name of the weight of a module outside the layers. */
export function weightName(role: ModuleRole): string {
  const module = addon().gpt2Modules.find((each) => each.role === role);
  return `${module?.name}.weight`;
}
