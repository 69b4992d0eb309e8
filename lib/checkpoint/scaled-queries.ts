import type { PlannedTensor } from '../gguf/model-file.js';
import { tensorRole } from '../gguf/model-tensors.js';
import type { CheckpointConfig } from './checkpoint-config.js';

/**
 * Multiplies the queries of a planned tensor by the factor of its layer's attention scores, since
 * (factor × q) · k = factor × (q · k). Other tensors stay as they are.
 */
export function withScaledQueries(
  tensor: PlannedTensor,
  { scoreFactor, embeddingLength: width }: CheckpointConfig,
): PlannedTensor {
  const { module, layer, parameter } = tensorRole(tensor.name) ?? {};
  const isQkv = module?.role === 'attentionQkv' && layer !== undefined;
  if (!isQkv || !scoreFactor || !tensor.numbers.parts) return tensor;
  // The queries are the first third of the outputs: rows of the weight, elements of the bias.
  const count = parameter === 'bias' ? width : width * width;
  return {
    ...tensor,
    numbers: { ...tensor.numbers, scale: { factor: scoreFactor(layer), count } },
  };
}
