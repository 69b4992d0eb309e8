import { TextDecoder } from 'node:util';
import { show } from '../arguments.js';
import type { InputFile } from '../input-file.js';
import { elementBytes, rowMajorEntry, type WeightEntry } from './weight-entry.js';

// The limit in the safetensors library.
const maxHeaderBytes = 100_000_000;

/**
 * Reads the tensors of a safetensors file: 8 bytes of header length, a JSON header, the tensors' bytes.
 * Format: https://github.com/huggingface/safetensors#format
 */
export async function readSafetensors(file: InputFile): Promise<Map<string, WeightEntry>> {
  if (file.size < 8) throw file.invalid(`it has ${file.size} bytes, too few for a header`);
  const headerLength = (await file.read(0, 8)).readBigUInt64LE();
  if (headerLength > maxHeaderBytes || Number(headerLength) > file.size - 8) {
    throw file.invalid(`its header claims ${headerLength} bytes in a file of ${file.size}`);
  }
  const dataStart = 8 + Number(headerLength);
  const json = new TextDecoder().decode(await file.read(8, Number(headerLength)));

  let header: unknown;
  try {
    header = JSON.parse(json);
  } catch (cause) {
    throw file.invalid('its header is not JSON', cause);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw file.invalid('its header is not a JSON object');
  }
  const entries = new Map<string, WeightEntry>();
  let claimed = 0;
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const entry = checkEntry(file, name, value, dataStart);
    entries.set(name, entry);
    claimed += entry.byteSize;
  }
  if (claimed > file.size - dataStart) {
    throw file.invalid(
      `its tensors claim ${claimed} bytes, but it holds ${file.size - dataStart}: they overlap`,
    );
  }
  addAliases(entries, (header as Record<string, unknown>).__metadata__);
  return entries;
}

/**
 * safetensors.torch.save_model() stores tensors that share their memory once and names the others in the metadata:
 * `{"transformer.wte.weight": "lm_head.weight"}`.
 */
function addAliases(entries: Map<string, WeightEntry>, metadata: unknown): void {
  if (typeof metadata !== 'object' || metadata === null) return;
  for (const [alias, name] of Object.entries(metadata)) {
    const entry = typeof name === 'string' ? entries.get(name) : undefined;
    if (entry && !entries.has(alias)) entries.set(alias, entry);
  }
}

function checkEntry(file: InputFile, name: string, value: unknown, dataStart: number): WeightEntry {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
  const isSize = (number: unknown): number is number =>
    Number.isSafeInteger(number) && (number as number) >= 0;
  if (typeof dtype !== 'string') {
    throw file.invalid(`the tensor "${name}" has the unknown dtype ${show(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw file.invalid(`the shape of the tensor "${name}" is not an array of sizes`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw file.invalid(`the tensor "${name}" has no data_offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const dataLength = file.size - dataStart;
  // A buffer may have a type that is not known here. It is never read.
  const bytes = Object.hasOwn(elementBytes, dtype) ? elementBytes[dtype] : undefined;
  const byteSize =
    bytes === undefined ? end - begin : shape.reduce((product, extent) => product * extent, bytes);
  if (begin > end || end > dataLength || end - begin !== byteSize) {
    throw file.invalid(
      `the tensor "${name}" of ${dtype} and shape [${shape.join(', ')}] needs ${byteSize} bytes, but its data_offsets are [${begin}, ${end}] in ${dataLength} bytes of data`,
    );
  }
  return rowMajorEntry({ file, dtype, shape, offset: dataStart + begin, byteSize });
}
