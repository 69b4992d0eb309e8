import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { InputFile } from '../input-file.js';
import { addon } from '../native/addon.js';
import { callNative } from '../native/native-call.js';
import type { GgufDescription } from '../native/types.js';
import { type EncodedMetadata, encodeMetadata, type GgufValue, ggufHeader } from './gguf-header.js';
import {
  fileTypeNumber,
  gpt2Metadata,
  matrixType,
  type PlannedTensor,
  type WriteOptions,
  writeTensors,
} from './model-file.js';
import { tensorRole } from './model-tensors.js';
import { isQuantized, type WeightType } from './tensor-types.js';

// The size of "GGUF", the version and the two counts.
const metadataStart = 24;
// Causal masks, which some converters copied from Hugging Face's checkpoints. They are not weights.
const maskBuffer = /^(transformer\.)?(h|blk)\.\d+\.attn\.(bias|masked_bias)$/;

/**
 * Writes a GGUF file of a GPT-2, which may be split, as a single file with another weight type. All other metadata is
 * kept.
 *
 * @throws UNSUPPORTED_MODEL, INVALID_FILE, FILE_NOT_FOUND, FILE_UNREADABLE, FILE_UNWRITABLE
 */
export async function requantize(
  source: string,
  target: string,
  type: WeightType,
  options: WriteOptions,
): Promise<void> {
  const { signal } = options;
  const description = await callNative(signal, () => addon().inspectGguf(source));
  const values = gpt2Metadata(source, description);
  const invalid = (reason: string) => new Gpt2Error('INVALID_FILE', `${source}: ${reason}`);
  const layerCount = values.get('gpt2.block_count');
  if (typeof layerCount !== 'number' || !Number.isInteger(layerCount) || layerCount < 1) {
    throw invalid(`expected gpt2.block_count to be a whole number but found ${show(layerCount)}`);
  }
  if (description.tensors.length === 0) throw invalid('it holds no tensors');
  const files: InputFile[] = [];
  try {
    for (const path of description.parts) files.push(await InputFile.open(path, signal));
    const tensors = description.tensors
      .filter(({ name }) => !maskBuffer.test(name))
      .map((tensor) => planTensor(files[tensor.part] as InputFile, tensor, type, layerCount));
    const changes = new Map([['general.file_type', fileTypeNumber(tensors, type)]]);
    if (tensors.some((tensor) => isQuantized(tensor.type))) {
      changes.set('general.quantization_version', 2);
    }
    if (values.has('general.alignment')) changes.set('general.alignment', 32);
    const metadata = await changedMetadata(files[0] as InputFile, description.metadata, changes);
    await writeTensors(target, ggufHeader(metadata, tensors), tensors, options);
  } finally {
    for (const file of files) file.close();
  }
}

function planTensor(
  file: InputFile,
  { name, type: own, shape, byteSize, offset }: GgufDescription['tensors'][number],
  type: WeightType,
  layerCount: number,
): PlannedTensor {
  const [columns = 0, rows = 1, ...others] = shape;
  // By role, since GGUF files may drop extents of 1 at the end.
  const role = tensorRole(name);
  const isVector = role?.parameter === 'bias' || role?.module.kind === 'norm';
  if (!role || (isVector && rows !== 1) || others.some((extent) => extent !== 1)) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: the tensor ${show(name)} of the shape [${shape.join(', ')}] is not part of a GPT-2`,
    );
  }
  return {
    name,
    type: isVector ? 'f32' : matrixType(name, columns, type, layerCount),
    shape: isVector ? [columns] : [columns, rows],
    numbers: { parts: [{ file: file.native, offset, type: own, rows, columns, transpose: false }] },
    sourceBytes: byteSize,
  };
}

const uint32Type = 4;
// A vocabulary of 50,257 tokens takes 2 MB.
const maxMetadataBytes = 100_000_000;

/** Whether a key of the source does not apply to the file that is written. */
function isOutOfDate(key: string, changes: ReadonlyMap<string, number>): boolean {
  const version = 'general.quantization_version';
  return key.startsWith('split.') || (key === version && !changes.has(version));
}

/** Copies the metadata of a file, changes or adds some whole numbers and drops the keys that no longer apply. */
async function changedMetadata(
  file: InputFile,
  metadata: GgufDescription['metadata'],
  changes: ReadonlyMap<string, number>,
): Promise<EncodedMetadata> {
  const byteSize = metadata.at(-1)?.[2] ?? metadataStart;
  if (byteSize > maxMetadataBytes) {
    throw file.invalid(
      `expected at most ${maxMetadataBytes} bytes of metadata but found ${byteSize}`,
    );
  }
  const bytes = await file.read(0, byteSize);
  const kept: Buffer[] = [];
  const added = new Map<string, GgufValue>(
    [...changes].map(([key, value]) => [key, { type: 'uint32', value }]),
  );
  let start = metadataStart;
  for (const [key, value, end, type] of metadata) {
    const number = changes.get(key);
    if (number !== undefined) {
      if (type !== uint32Type || typeof value !== 'number') {
        throw file.invalid(`expected ${key} to be a whole number of 32 bits`);
      }
      bytes.writeUInt32LE(number, end - 4);
      added.delete(key);
    }
    if (!isOutOfDate(key, changes)) kept.push(bytes.subarray(start, end));
    start = end;
  }
  const more = await encodeMetadata(added);
  return { count: kept.length + more.count, bytes: Buffer.concat([...kept, more.bytes]) };
}
