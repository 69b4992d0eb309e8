import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { InputFile } from '../input-file.js';
import {
  PickleError,
  PickleGlobal,
  type PickleHandler,
  PickleReader,
  PickleRefusal,
  type PickleValue,
} from './pickle.js';
import { elementBytes, type WeightEntry } from './weight-entry.js';
import { ZipArchive } from './zip-archive.js';

/** The contents of a file written by torch.save(). */
export interface PytorchContent {
  entries: Map<string, WeightEntry>;
  /** The model_args of a nanoGPT checkpoint. */
  modelArguments: Readonly<Record<string, unknown>> | undefined;
}

// The names and shapes of a GPT-2 and its optimizer state take a few hundred kilobytes.
const maxPickleBytes = 8_000_000;
// A GPT-2 of 48 layers has 580 tensors, 2,300 with its optimizer state.
const maxTensors = 10_000;

/** A contiguous array of elements of one type. */
class Storage {
  readonly dtype: string;
  readonly key: string;
  readonly count: number;

  constructor(dtype: string, key: string, count: number) {
    this.dtype = dtype;
    this.key = key;
    this.count = count;
  }
}

class Tensor {
  readonly storage: Storage;
  readonly offset: number; // in elements, like the strides
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: Storage, offset: number, shape: number[], strides: number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

const storageTypes: Readonly<Record<string, string>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
};

const isSize = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;
const areSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length <= 8 && value.every(isSize);

/** The functions that the pickle of a state dict calls. All other calls are refused. */
const stateDict: PickleHandler = {
  call(name, args) {
    switch (name) {
      case 'collections.OrderedDict':
        if (args.length === 0) return new Map();
        break;
      case 'torch._utils._rebuild_tensor':
      case 'torch._utils._rebuild_tensor_v2': {
        const [storage, offset, shape, strides] = args;
        const isTensor =
          storage instanceof Storage && isSize(offset) && areSizes(shape) && areSizes(strides);
        if (isTensor && shape.length === strides.length) {
          return new Tensor(storage, offset, shape, strides);
        }
        break;
      }
      case 'torch._utils._rebuild_parameter':
        if (args[0] instanceof Tensor) return args[0];
        break;
      case 'torch.Size':
        if (areSizes(args[0])) return args[0];
        break;
      default:
        throw new PickleRefusal(`it calls ${name}, which a state dict does not need`);
    }
    throw new PickleError(`it calls ${name} with arguments that PyTorch does not write`);
  },

  persistent(id) {
    const [kind, type, key, , count, view] = Array.isArray(id) ? id : [];
    if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string') {
      throw new PickleError('it refers to an object that is not a storage');
    }
    const dtype = storageTypes[type.name];
    if (dtype === undefined)
      throw new PickleRefusal(`it has a storage of the unsupported type ${type.name}`);
    if (!isSize(count)) throw new PickleError(`the storage "${key}" has no size`);
    if (view) throw new PickleRefusal(`the storage "${key}" is a view of another storage`);
    return new Storage(dtype, key, count);
  },
};

/** The first bytes of both formats of torch.save(): a ZIP archive, and a pickle of a ten-byte magic number. */
export const pytorchStarts: readonly string[] = ['PK\x03\x04', '\x80\x02\x8a\x0a'];

/**
 * Reads the tensors of a file written by torch.save(), in either format: a ZIP archive with a pickle and one member
 * per storage, or (before PyTorch 1.6) a sequence of pickles followed by the storages.
 */
export async function readPytorch(file: InputFile): Promise<PytorchContent> {
  try {
    const start = (await file.read(0, Math.min(file.size, 4))).toString('latin1');
    return start.startsWith('PK') ? await readArchive(file) : await readLegacy(file);
  } catch (error) {
    if (!(error instanceof PickleError)) throw error;
    if (error instanceof PickleRefusal) {
      throw new Gpt2Error('UNSUPPORTED_MODEL', `${file.path}: ${error.message}`, { cause: error });
    }
    throw file.invalid(`its pickle is damaged: ${error.message}`, error);
  }
}

/** The position of a storage in the file. */
interface Location {
  offset: number;
  byteSize: number;
}

async function readArchive(file: InputFile): Promise<PytorchContent> {
  const archive = await ZipArchive.open(file);
  const pickle = [...archive.names].find((name) => /^([^/]+\/)?data\.pkl$/.test(name));
  if (!pickle)
    throw file.invalid('it is a ZIP archive without a data.pkl, which torch.save() writes');
  const folder = pickle.slice(0, -'data.pkl'.length);
  const order = `${folder}byteorder`;
  const isBigEndian =
    [...archive.names].includes(order) && (await archive.read(order, 16)).toString() === 'big';
  if (isBigEndian) throw file.invalid('its numbers are big-endian');
  const bytes = await archive.read(pickle, maxPickleBytes);
  const value = new PickleReader(bytes, stateDict).next();

  const locations = new Map<string, Location>();
  return await collect(file, value, async ({ key }) => {
    const known = locations.get(key);
    if (known) return known;
    const location = await archive.locate(`${folder}data/${key}`);
    locations.set(key, location);
    return location;
  });
}

// torch.save()'s magic number.
const legacyMagic = 0x1950a86a20f9469cfc6cn;

async function readLegacy(file: InputFile): Promise<PytorchContent> {
  const reader = new PickleReader(
    await file.read(0, Math.min(file.size, maxPickleBytes)),
    stateDict,
  );
  if (reader.next() !== legacyMagic)
    throw file.invalid('it is a pickle that torch.save() did not write');
  const version = reader.next();
  if (version !== 1001) throw file.invalid(`expected version 1001 but found ${show(version)}`);
  const system = reader.next();
  if (system instanceof Map && system.get('little_endian') === false) {
    throw file.invalid('its numbers are big-endian');
  }
  const value = reader.next();
  const keys = reader.next();
  const storages = storagesOf(file, value);
  const locations = new Map<string, Location>();
  let position = reader.position;
  for (const key of Array.isArray(keys) ? keys : []) {
    const storage = typeof key === 'string' && !locations.has(key) ? storages.get(key) : undefined;
    const count = Number((await file.read(position, 8)).readBigInt64LE());
    if (!storage || count !== storage.count) {
      throw file.invalid(`the storage ${show(key)} does not match its pickle`);
    }
    const byteSize = count * (elementBytes[storage.dtype] as number);
    locations.set(storage.key, { offset: position + 8, byteSize });
    position += 8 + byteSize;
  }
  return await collect(file, value, async ({ key }) => {
    const location = locations.get(key);
    if (!location) throw file.invalid(`the storage "${key}" is missing`);
    return location;
  });
}

/** All storages in a value's dicts, lists and tuples. */
function storagesOf(file: InputFile, value: PickleValue): Map<string, Storage> {
  const storages = new Map<string, Storage>();
  const seen = new Set<PickleValue>();
  const open: PickleValue[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null || seen.has(next)) continue;
    seen.add(next);
    if (next instanceof Tensor) storages.set(next.storage.key, next.storage);
    else if (Array.isArray(next)) for (const item of next) open.push(item);
    else if (next instanceof Map) for (const item of next.values()) open.push(item);
  }
  if (storages.size > maxTensors) throw file.invalid(`it has more than ${maxTensors} storages`);
  return storages;
}

// The names under which nanoGPT, "Build a Large Language Model (From Scratch)" and Lightning save a state dict.
const stateDictNames = ['model', 'model_state_dict', 'state_dict'];

async function collect(
  file: InputFile,
  value: PickleValue,
  locate: (storage: Storage) => Promise<Location>,
): Promise<PytorchContent> {
  const nested =
    value instanceof Map && stateDictNames.find((name) => value.get(name) instanceof Map);
  const tensors = nested ? (value as Map<PickleValue, PickleValue>).get(nested) : value;
  if (!(tensors instanceof Map)) {
    throw file.invalid('it holds no state dict: expected a dict of tensors by name');
  }
  if (tensors.size > maxTensors) throw file.invalid(`it has more than ${maxTensors} tensors`);
  const entries = new Map<string, WeightEntry>();
  for (const [name, tensor] of tensors) {
    if (typeof name !== 'string' || !(tensor instanceof Tensor)) continue;
    entries.set(name, toEntry(file, name, tensor, await locate(tensor.storage)));
  }
  if (entries.size === 0) throw file.invalid('its state dict holds no tensors');
  const modelArguments = value instanceof Map ? value.get('model_args') : undefined;
  return {
    entries,
    modelArguments:
      modelArguments instanceof Map
        ? Object.fromEntries([...modelArguments].filter(([name]) => typeof name === 'string'))
        : undefined,
  };
}

function toEntry(file: InputFile, name: string, tensor: Tensor, location: Location): WeightEntry {
  const { storage, offset, shape } = tensor;
  const bytes = elementBytes[storage.dtype] as number;
  const count = shape.reduce((product, extent) => product * extent, 1);
  const order = orderOf(tensor);
  const end = (offset + count) * bytes;
  // The size that a reference states may exceed the storage's real size.
  const isInFile = end <= location.byteSize && location.offset + end <= file.size;
  if (order !== 'other' && !isInFile) {
    throw file.invalid(
      `the tensor "${name}" extends beyond its storage of ${location.byteSize} bytes`,
    );
  }
  return {
    file,
    dtype: storage.dtype,
    shape,
    offset: location.offset + offset * bytes,
    byteSize: count * bytes,
    order,
  };
}

function orderOf({ shape, strides }: Tensor): WeightEntry['order'] {
  const isOrdered = (axes: number[]) => {
    let stride = 1;
    for (const axis of axes) {
      const extent = shape[axis] as number;
      if (extent !== 1 && strides[axis] !== stride) return false;
      stride *= extent;
    }
    return true;
  };
  const axes = shape.map((_, axis) => axis);
  if (isOrdered(axes.toReversed())) return 'rows';
  return shape.length === 2 && isOrdered(axes) ? 'columns' : 'other';
}
