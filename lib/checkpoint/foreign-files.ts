import { Gpt2Error } from '../errors.js';

// Files that people pass in place of weights, recognised by their first bytes, with the way to usable weights.

/** The number of bytes that refuseForeign needs. */
export const foreignStartBytes = 512;

const saveFromHuggingFace = (loading: string) =>
  `convert it in Python: transformers.GPT2LMHeadModel.from_pretrained(folder, ${loading}).save_pretrained("converted")`;

interface Foreign {
  code: 'INVALID_FILE' | 'UNSUPPORTED_MODEL';
  what: string;
  /** What to do. */
  advice: string;
  matches(start: Buffer, path: string): boolean;
}

const startsWith = (text: string) => (start: Buffer) =>
  start.subarray(0, text.length).toString('latin1') === text;

const foreignFiles: readonly Foreign[] = [
  {
    code: 'INVALID_FILE',
    what: 'a Git LFS pointer, not the weights themselves',
    advice: 'run `git lfs pull` in its repository, or download the file again',
    matches: startsWith('version https://git-lfs.github.com/'),
  },
  {
    code: 'INVALID_FILE',
    what: 'an HTML page, not weights',
    advice: 'download the file itself (on the Hugging Face hub: "resolve" in the URL, not "blob")',
    matches: (start) => /^\s*(<!doctype html|<html|<head|<!--)/i.test(start.toString('latin1')),
  },
  {
    code: 'INVALID_FILE',
    what: 'an XML page, mostly the error of a server, not weights',
    advice: 'download the file again',
    matches: startsWith('<?xml'),
  },
  {
    code: 'UNSUPPORTED_MODEL',
    what: "llm.c's checkpoint",
    advice:
      "pass the model that it was made from, or write its weights with Hugging Face's names to a .safetensors file (https://github.com/karpathy/llm.c, dev/eval/export_hf.py)",
    // Its header begins with this number, as int32 (gpt2_write in train_gpt2.py).
    matches: (start) => start.length >= 4 && start.readUInt32LE() === 20240326,
  },
  {
    code: 'UNSUPPORTED_MODEL',
    what: 'an old ggml file, from before GGUF',
    advice:
      'convert the original checkpoint: gpt2 convert <checkpoint> <target.gguf>; old ggml files lack what GGUF needs',
    // The numbers ggml, ggmf, ggjt and ggla in little-endian order.
    matches: (start) => /^(lmgg|fmgg|tjgg|algg)/.test(start.subarray(0, 4).toString('latin1')),
  },
  {
    code: 'UNSUPPORTED_MODEL',
    what: 'an HDF5 file, as Keras and TensorFlow write it',
    advice: saveFromHuggingFace('from_tf=True'),
    matches: startsWith('\x89HDF\r\n\x1a\n'),
  },
  {
    code: 'UNSUPPORTED_MODEL',
    what: 'a Flax file (msgpack)',
    advice: saveFromHuggingFace('from_flax=True'),
    // A map (fixmap, map 16 or map 32) whose first key is a string.
    matches: (start, path) =>
      path.endsWith('.msgpack') ||
      (start.length > 8 &&
        /^([\x81-\x8f]|\xde..|\xdf....)(\xa6params|\xabtransformer)/s.test(
          start.toString('latin1'),
        )),
  },
  {
    code: 'UNSUPPORTED_MODEL',
    what: 'an ONNX file',
    advice:
      'pass the checkpoint that it was exported from; ONNX files hold a graph, not a checkpoint',
    // A protocol buffer: the version of the format, then the producer's name.
    matches: (start, path) =>
      path.endsWith('.onnx') ||
      (start[0] === 0x08 &&
        start[2] === 0x12 &&
        /^(pytorch|tf2onnx|onnx)/.test(start.toString('latin1', 4, 16))),
  },
  {
    code: 'UNSUPPORTED_MODEL',
    what: 'a NumPy array',
    advice: 'save the weights with torch.save() or safetensors',
    matches: startsWith('\x93NUMPY'),
  },
  {
    code: 'INVALID_FILE',
    what: 'a gzip archive',
    advice: 'unpack it: tar -xzf or gunzip',
    matches: startsWith('\x1f\x8b'),
  },
];

/** Names a file that is known not to hold weights in a supported format. Throws, with advice, if the file is one. */
export function refuseForeign(path: string, start: Buffer): void {
  const foreign = foreignFiles.find(({ matches }) => matches(start, path));
  if (!foreign) return;
  const { code, what, advice } = foreign;
  throw new Gpt2Error(code, `${path}: it is ${what}; ${advice}`);
}

/** How to open an adapter. */
export const pairAdvice =
  'pass its base model, and the adapter as the option adapters: loadModel(base, { adapters: [folder] }), or gpt2 convert <base> <target> --adapter <folder>';

const foreignNames: readonly [RegExp, string, string][] = [
  [/^adapter_(model|config)\./, 'a PEFT adapter', pairAdvice],
  [/\.msgpack$/, 'Flax weights', saveFromHuggingFace('from_flax=True')],
  [/\.(h5|hdf5|keras)$/, 'Keras weights', saveFromHuggingFace('from_tf=True')],
  [/\.onnx$/, 'ONNX files', 'use the checkpoint that they were exported from'],
];

/** A sentence on weights in other formats among the files of a folder; empty if there are none. */
export function foreignWeights(names: readonly string[]): string {
  const found = foreignNames.find(([pattern]) => names.some((name) => pattern.test(name)));
  return found ? `; it holds ${found[1]}: ${found[2]}` : '';
}
