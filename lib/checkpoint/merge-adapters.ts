import { Gpt2Error } from '../errors.js';
import type { PlannedTensor } from '../gguf/model-file.js';
import { weightName } from '../gguf/model-tensors.js';
import type { Adapter, LoraUpdate } from './adapter.js';
import { type CheckpointTensor, nativePart } from './tensor-parts.js';

/**
 * Merges adapters into the planned tensors of a model. The engine adds the changes in f32 before it encodes.
 *
 * @param plan plans a tensor that an adapter has in place of the base model's
 * @throws INVALID_ARGUMENT if two adapters replace the same tensor; INVALID_FILE if one replaces an embedding, but not the
 *   head, by one of another size
 */
export function mergeAdapters(
  tensors: readonly PlannedTensor[],
  adapters: readonly Adapter[],
  plan: (tensor: CheckpointTensor) => PlannedTensor,
): PlannedTensor[] {
  const merged = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const embedding = weightName('tokenEmbedding');
  const head = weightName('head');
  // PEFT changes a copy of a module. A tied head thus stays as it was, unless the adapter changes it too.
  const areChanged = (name: string) =>
    adapters.some(({ replaced, updates }) => replaced.has(name) || updates.has(name));
  const tied = merged.get(embedding);
  const isTied = !merged.has(head);
  const newHead = adapters.find(({ isHeadTied }) => isHeadTied)?.replaced.get(embedding);
  if (isTied && tied && (areChanged(embedding) || areChanged(head))) {
    merged.set(head, { ...tied, name: head });
  }
  const replacedBy = new Map<string, Adapter>();
  for (const adapter of adapters) {
    for (const [name, tensor] of adapter.replaced) {
      const other = replacedBy.get(name);
      if (other) {
        throw new Gpt2Error(
          'INVALID_ARGUMENT',
          `${adapter.path}: it replaces the tensor "${name}", as ${other.path} does; expected adapters of which at most one does`,
        );
      }
      replacedBy.set(name, adapter);
      merged.set(name, plan(tensor));
    }
  }
  if (isTied && newHead) {
    // The head follows the new embedding and needs no tensor of its own, unless one of the two is changed further.
    const isChanged = adapters.some(({ updates }) => updates.has(embedding) || updates.has(head));
    if (isChanged) merged.set(head, { ...plan(newHead), name: head });
    else merged.delete(head);
  }
  for (const adapter of adapters) {
    for (const [name, updates] of adapter.updates) {
      const tensor = merged.get(name);
      if (tensor) merged.set(name, withUpdates(tensor, updates));
    }
  }
  const rowsOf = (name: string) => merged.get(name)?.shape[1];
  if (merged.has(head) && rowsOf(head) !== rowsOf(embedding)) {
    const path = (replacedBy.get(head) ?? replacedBy.get(embedding))?.path;
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected an embedding and a head of the same number of tokens but found ${rowsOf(embedding)} and ${rowsOf(head)}`,
    );
  }
  return [...merged.values()];
}

function withUpdates(tensor: PlannedTensor, updates: readonly LoraUpdate[]): PlannedTensor {
  const native = updates.map(({ left, right, ...rest }) => ({
    ...rest,
    left: nativePart(left),
    right: nativePart(right),
  }));
  const bytes = updates.reduce(
    (sum, { left, right }) => sum + left.entry.byteSize + right.entry.byteSize,
    0,
  );
  return {
    ...tensor,
    numbers: { ...tensor.numbers, updates: [...(tensor.numbers.updates ?? []), ...native] },
    sourceBytes: tensor.sourceBytes + bytes,
  };
}
