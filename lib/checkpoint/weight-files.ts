import { join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { InputFile } from '../input-file.js';
import { type CheckpointFiles, pytorchStarts } from './checkpoint-files.js';
import { foreignStartBytes, refuseForeign } from './foreign-files.js';
import { type PytorchContent, readPytorch } from './pytorch.js';
import { readSafetensors } from './safetensors.js';
import { readTensorflow } from './tensorflow.js';

/** Reads where the tensors of a checkpoint lie. Adds the files that it opens to `files`; the caller closes them. */
export async function readEntries(
  { folder, weights, isTensorflow }: CheckpointFiles,
  files: InputFile[],
  signal: AbortSignal | undefined,
): Promise<PytorchContent> {
  const [first = ''] = weights;
  if (isTensorflow) {
    const entries = await readTensorflow(join(folder, first), files, signal);
    return { entries };
  }
  const all: PytorchContent = { entries: new Map(), objects: new Map() };
  for (const name of weights) {
    const file = await InputFile.open(join(folder, name), signal);
    files.push(file);
    const { entries, modelArguments, settings, objects = [] } = await readFile(file);
    all.modelArguments ??= modelArguments;
    all.settings ??= settings;
    all.objects = new Map([...(all.objects ?? []), ...objects]);
    for (const [tensor, entry] of entries) {
      if (all.entries.has(tensor)) throw occursTwice(file.path, tensor);
      all.entries.set(tensor, entry);
    }
  }
  return all;
}

/** Detects the format from the first bytes, since names are unreliable. */
async function readFile(file: InputFile): Promise<PytorchContent> {
  const start = await file.read(0, Math.min(foreignStartBytes, file.size));
  const text = start.toString('latin1');
  if (pytorchStarts.some((known) => text.startsWith(known))) return await readPytorch(file);
  refuseForeign(file.path, start);
  return { entries: await readSafetensors(file) };
}

export function occursTwice(path: string, name: string): Gpt2Error {
  return new Gpt2Error('INVALID_FILE', `${path}: the tensor "${name}" occurs twice`);
}
