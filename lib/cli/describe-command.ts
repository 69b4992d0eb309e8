import { stat } from 'node:fs/promises';
import { gpt2Metadata, matrixType } from '../gguf/model-file.js';
import { type ModelSizes, tiedModelTensors, weightName } from '../gguf/model-tensors.js';
import { byteSize, type WeightType, weightTypes } from '../gguf/tensor-types.js';
import { checkGpt2Config, presetNames, sizesOf } from '../gpt2-config.js';
import { addon } from '../native/addon.js';
import { callNative } from '../native/native-call.js';
import type { GgufDescription, Gpt2Module, ModuleRole } from '../native/types.js';
import { Command, Option } from './commander.js';
import {
  findFile,
  headCountOption,
  modelForms,
  noteDefaultModel,
  offlineOption,
  parseCount,
} from './model-options.js';
import { formatBytes } from './terminal.js';

interface Flags {
  type: WeightType;
  context?: number;
  headCount?: number;
  offline?: boolean;
  json?: boolean;
}

export function describeCommand(): Command {
  return new Command('describe')
    .description(
      'Draw the architecture of a model or of a published size, with shapes, parameters and memory.',
    )
    .argument(
      '[model]',
      `${modelForms}, or a published size: ${presetNames.join(', ')} (default: the small model that comes with the package)`,
    )
    .addOption(
      new Option('--type <type>', 'type of the weights, for a published size')
        .choices(weightTypes)
        .default('f32'),
    )
    .option(
      '--context <tokens>',
      "tokens in the KV cache (default: the model's context length)",
      parseCount,
    )
    .addOption(headCountOption())
    .addOption(offlineOption())
    .option('--json', 'print JSON on stdout')
    .action(run);
}

/** A tensor as it is stored. */
interface StoredTensor {
  name: string;
  /** the contiguous dimension first */
  shape: number[];
  byteSize: number;
}

interface Description {
  title: string;
  sizes: ModelSizes & { headCount: number };
  /** For the label. */
  activation: string;
  tensors: StoredTensor[];
}

async function run(model: string | undefined, flags: Flags): Promise<void> {
  const { type, context, json } = flags;
  const description = (await describePreset(model, type)) ?? (await describeFile(model, flags));
  const tokens = Math.min(context ?? Number.POSITIVE_INFINITY, description.sizes.contextLength);
  const summary = summarize(description, tokens);
  process.stdout.write(
    json ? `${JSON.stringify(summary)}\n` : draw(description.title, summary, tokens),
  );
}

async function describePreset(
  model: string | undefined,
  type: WeightType,
): Promise<Description | undefined> {
  const isPreset = model !== undefined && /^\d+M$/.test(model);
  if (!isPreset || (await stat(model).catch(() => undefined))) return undefined;
  const config = checkGpt2Config(model as (typeof presetNames)[number]);
  const sizes = sizesOf(config);
  const tensors = [...tiedModelTensors(sizes)].map(({ name, rowLength, rows, isVector }) => ({
    name,
    shape: isVector ? [rowLength] : [rowLength, rows],
    byteSize: byteSize(
      isVector ? 'f32' : matrixType(name, rowLength, type, sizes.layerCount),
      rowLength,
      rows,
    ),
  }));
  return {
    title: `GPT-2 ${model} in ${type}`,
    sizes: { ...sizes, headCount: config.n_heads },
    activation: 'GELU',
    tensors,
  };
}

async function describeFile(
  model: string | undefined,
  { headCount, offline }: Pick<Flags, 'headCount' | 'offline'>,
): Promise<Description> {
  const path = await findFile(model, { headCount, offline });
  const description = await callNative(undefined, () => addon().inspectGguf(path));
  const { tensors } = description;
  const embedding = weightName('tokenEmbedding');
  if (model === undefined) noteDefaultModel();
  const values = gpt2Metadata(path, description);
  const number = (key: string) => Number(values.get(`gpt2.${key}`));
  const absent = absentTensors(values);
  return {
    title: path,
    sizes: {
      vocabSize: tensors.find(({ name }) => name === embedding)?.shape[1] ?? 0,
      contextLength: number('context_length'),
      embeddingLength: number('embedding_length'),
      feedForwardLength: number('feed_forward_length'),
      layerCount: number('block_count'),
      headCount: number('attention.head_count'),
    },
    activation: activationLabels[String(values.get('gpt2_native.activation_function'))] ?? 'GELU',
    tensors: tensors.filter(({ name }) => !absent.has(name)),
  };
}

/** The biases that the model does not have and that its file stores as zeros for other loaders. */
function absentTensors(metadata: Map<string, GgufDescription['metadata'][number][1]>): Set<string> {
  const list = metadata.get('gpt2_native.absent_biases');
  return new Set(typeof list === 'object' ? list.strings : []);
}

const activationLabels: Readonly<Record<string, string>> = {
  gelu: 'GELU (erf)',
  relu: 'ReLU',
  silu: 'SiLU',
};

const labels: Record<ModuleRole, string> = {
  tokenEmbedding: 'token embedding',
  positionEmbedding: 'position embedding',
  attentionNorm: 'norm',
  attentionQkv: 'queries, keys, values',
  attentionOutput: 'attention output',
  feedForwardNorm: 'norm',
  feedForwardUp: 'feed-forward up',
  feedForwardDown: 'feed-forward down',
  outputNorm: 'norm',
  head: 'head',
};

interface Part {
  name: string;
  shape: string;
  /** of one layer, for a part of the layers */
  parameters: number;
  byteSize: number;
}

interface Summary extends ModelSizes {
  headCount: number;
  headSize: number;
  input: Part[];
  layer: Part[];
  output: Part[];
  parameterCount: number;
  weightBytes: number;
  cache: { tokens: number; f32Bytes: number; f16Bytes: number };
}

function summarize({ sizes, activation, tensors }: Description, tokens: number): Summary {
  const numbers = ({ shape }: StoredTensor) =>
    shape.reduce((product, extent) => product * extent, 1);
  const parts = (place: Gpt2Module['place']) =>
    addon()
      .gpt2Modules.filter((module) => module.place === place)
      .map(part);
  const part = ({ role, name, place }: Gpt2Module): Part => {
    const own = tensors.filter((tensor) => tensor.name.startsWith(`${name.replace('{}', '0')}.`));
    const [columns = 0, rows] = own[0]?.shape ?? [];
    return {
      name: role === 'feedForwardUp' ? `${labels[role]}, ${activation}` : labels[role],
      shape: rows === undefined ? grouped(columns) : shapeText(columns, rows, place === 'input'),
      parameters: own.reduce((sum, tensor) => sum + numbers(tensor), 0),
      byteSize: own.reduce((sum, tensor) => sum + tensor.byteSize, 0),
    };
  };
  const [outputNorm, head] = parts('output') as [Part, Part];
  const { embeddingLength: width, vocabSize, layerCount, headCount } = sizes;
  const tied = { ...head, name: 'head: the token embedding', shape: shapeText(width, vocabSize) };
  const cacheNumbers = 2 * layerCount * width * tokens;
  return {
    ...sizes,
    headSize: width / headCount,
    input: parts('input'),
    layer: parts('layer'),
    output: [outputNorm, head.parameters > 0 ? head : tied],
    parameterCount: tensors.reduce((sum, tensor) => sum + numbers(tensor), 0),
    weightBytes: tensors.reduce((sum, tensor) => sum + tensor.byteSize, 0),
    cache: { tokens, f32Bytes: 4 * cacheNumbers, f16Bytes: 2 * cacheNumbers },
  };
}

function grouped(number: number): string {
  return number.toLocaleString('en');
}

function shapeText(columns: number, rows: number, isTable = false): string {
  return isTable
    ? `${grouped(rows)} × ${grouped(columns)}`
    : `${grouped(columns)} → ${grouped(rows)}`;
}

function draw(title: string, summary: Summary, tokens: number): string {
  const { layerCount, embeddingLength, headCount, headSize, contextLength, vocabSize } = summary;
  const lines = [
    title,
    `${grouped(layerCount)} layers of width ${grouped(embeddingLength)}, ${headCount} heads of ${headSize}, context ${grouped(contextLength)}, ${grouped(vocabSize)} tokens`,
    '',
    row('', { name: '', shape: 'shape', parameters: 'parameters', byteSize: 'memory' }),
  ];
  const add = (margin: string, part: Part) => {
    const { name, shape, parameters, byteSize } = part;
    lines.push(
      row(margin, {
        name,
        shape,
        parameters: grouped(parameters),
        byteSize: parameters === 0 ? '' : formatBytes(byteSize),
      }),
    );
  };
  const [tokenEmbedding, positionEmbedding] = summary.input as [Part, Part];
  add('  ', tokenEmbedding);
  add('+ ', positionEmbedding);
  lines.push(`┌─ each of ${grouped(layerCount)} layers`);
  for (const [index, part] of summary.layer.entries()) {
    add('│   ', part);
    // Residual connections follow the attention output and the feed-forward part.
    if (index % 3 === 2) lines.push('│ + input of the block');
  }
  lines.push('└─');
  for (const part of summary.output) add('  ', part);
  const { f32Bytes, f16Bytes } = summary.cache;
  lines.push(
    '',
    `${grouped(summary.parameterCount)} parameters, ${formatBytes(summary.weightBytes)}`,
    `keys and values of ${grouped(tokens)} tokens: ${formatBytes(f32Bytes)} in f32, ${formatBytes(f16Bytes)} in f16`,
  );
  return `${lines.join('\n')}\n`;
}

function row(margin: string, cells: Record<'name' | 'shape' | 'parameters' | 'byteSize', string>) {
  const name = `${margin}${cells.name}`.padEnd(32);
  const rest = `${cells.shape.padEnd(18)}${cells.parameters.padStart(13)}${cells.byteSize.padStart(11)}`;
  return `${name}${rest}`.trimEnd();
}
