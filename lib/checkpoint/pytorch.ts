import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { InputFile } from '../input-file.js';
import { trainingNames } from './checkpoint-config.js';
import {
  PickleError,
  PickleGlobal,
  type PickleHandler,
  PickleObject,
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
  modelArguments?: Settings | undefined;
  /** The settings of another object beside the state dict that has the model's sizes. */
  settings?: Settings | undefined;
  /** What the state dict holds instead of a tensor, by name: the name of a class or function. */
  objects?: ReadonlyMap<string, string>;
}

type Settings = Readonly<Record<string, unknown>>;
type Dict = ReadonlyMap<PickleValue, PickleValue>;

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
  'torch.ComplexFloatStorage': 'C64',
  'torch.ComplexDoubleStorage': 'C128',
  'torch.QInt8Storage': 'I8',
  'torch.QUInt8Storage': 'U8',
  'torch.QInt32Storage': 'I32',
  // The bytes of types that have no storage class, such as uint16 and float8.
  'torch.storage.UntypedStorage': 'U8',
  'torch.UntypedStorage': 'U8',
};

const isSize = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;
const areSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length <= 8 && value.every(isSize);

/** The functions that make the tensors of a state dict. All others are left uninterpreted. */
class StateDict implements PickleHandler {
  /** Every storage that the pickle names, by its key. */
  readonly storages = new Map<string, Storage>();

  call(name: string, args: readonly PickleValue[]): PickleValue | undefined {
    switch (name) {
      case 'collections.OrderedDict':
        return args.length === 0 ? new Map() : undefined;
      case 'collections.defaultdict':
        return new Map();
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
      case 'torch._utils._rebuild_parameter_with_state':
        // The parameter may be of a kind that is not interpreted.
        return args[0] instanceof Tensor ? args[0] : undefined;
      case 'torch._tensor._rebuild_from_type_v2': {
        // A subclass of Tensor: a function, the class, the function's arguments, attributes.
        const [rebuild, , itsArgs] = args;
        const isCall = rebuild instanceof PickleGlobal && Array.isArray(itsArgs);
        return isCall && rebuild.name !== name ? this.call(rebuild.name, itsArgs) : undefined;
      }
      case 'torch.Size':
        if (areSizes(args[0])) return args[0];
        break;
      case 'numpy.core.multiarray.scalar':
      case 'numpy._core.multiarray.scalar':
        return numpyScalar(args);
      case '_codecs.encode': {
        // Python 3 writes bytes so in protocol 2.
        const [text, encoding] = args;
        return typeof text === 'string' && encoding === 'latin1'
          ? Buffer.from(text, 'latin1')
          : undefined;
      }
      default:
        return undefined;
    }
    throw new PickleError(`it calls ${name} with arguments that PyTorch does not write`);
  }

  persistent(id: PickleValue): PickleValue {
    const [kind, type, key, , count, view] = Array.isArray(id) ? id : [];
    // A class whose source code is beside it, before PyTorch 1.6.
    if (kind === 'module' && type instanceof PickleGlobal) return type;
    if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string') {
      throw new PickleError('it refers to an object that is not a storage');
    }
    const dtype = storageTypes[type.name];
    if (dtype === undefined)
      throw new PickleRefusal(`it has a storage of the unsupported type ${type.name}`);
    if (!isSize(count)) throw new PickleError(`the storage "${key}" has no size`);
    if (view) throw new PickleRefusal(`the storage "${key}" is a view of another storage`);
    const storage = new Storage(dtype, key, count);
    this.storages.set(key, storage);
    if (this.storages.size > maxTensors) {
      throw new PickleError(`it has more than ${maxTensors} storages`);
    }
    return storage;
  }
}

/** Decodes a scalar of NumPy: its dtype, and its bytes in little-endian order. */
function numpyScalar([dtype, bytes]: readonly PickleValue[]): number | undefined {
  if (!(dtype instanceof PickleObject) || !Buffer.isBuffer(bytes)) return undefined;
  const [code] = dtype.args;
  const order = Array.isArray(dtype.state) ? dtype.state[1] : '<';
  const kind = typeof code === 'string' ? code[0] : undefined;
  const size = typeof code === 'string' ? Number(code.slice(1)) : 0;
  if (order === '>' || bytes.length !== size) return undefined;
  if (kind === 'f' && size === 8) return bytes.readDoubleLE();
  if (kind === 'f' && size === 4) return bytes.readFloatLE();
  if ((kind === 'i' || kind === 'u') && size >= 1 && size <= 8) {
    const bits = bytes.reduceRight((high, byte) => (high << 8n) | BigInt(byte), 0n);
    return Number(kind === 'i' ? BigInt.asIntN(8 * size, bits) : bits);
  }
  return undefined;
}

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
  const value = new PickleReader(bytes, new StateDict()).next();

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
  const stateDict = new StateDict();
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
  const locations = new Map<string, Location>();
  let position = reader.position;
  for (const key of Array.isArray(keys) ? keys : []) {
    const storage =
      typeof key === 'string' && !locations.has(key) ? stateDict.storages.get(key) : undefined;
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

// The names under which training programs save a state dict: nanoGPT, "Build a Large Language Model (From Scratch)",
// Lightning, DeepSpeed and others.
const stateDictNames = ['model', 'model_state_dict', 'state_dict', 'module', 'model_state'];
const deepestStateDict = 4;

async function collect(
  file: InputFile,
  value: PickleValue,
  locate: (storage: Storage) => Promise<Location>,
): Promise<PytorchContent> {
  const stateDict = findStateDict(value, deepestStateDict, new Set());
  if (!stateDict) throw noStateDict(file, value);
  if (stateDict.size > maxTensors) throw file.invalid(`it has more than ${maxTensors} tensors`);
  const entries = new Map<string, WeightEntry>();
  const objects = new Map<string, string>();
  for (const [name, tensor] of stateDict) {
    if (typeof name !== 'string') continue;
    if (tensor instanceof PickleObject) objects.set(name, tensor.name);
    if (tensor instanceof Tensor) {
      entries.set(name, toEntry(file, name, tensor, await locate(tensor.storage)));
    }
  }
  const top = dictOf(value);
  const modelArguments = top?.get('model_args');
  return {
    entries,
    modelArguments: modelArguments === undefined ? undefined : settingsOf(fieldsOf(modelArguments)),
    settings: top === stateDict ? undefined : findSettings(value),
    objects,
  };
}

/** A dict, or the items of an object of a subclass of dict. */
function dictOf(value: PickleValue | undefined): Dict | undefined {
  if (value instanceof Map) return value;
  return value instanceof PickleObject ? value.items : undefined;
}

/** The dict of tensors in a dict of objects that a training program saved. */
function findStateDict(
  value: PickleValue | undefined,
  depth: number,
  seen: Set<Dict>, // objects may occur many times, at each level
): Dict | undefined {
  const dict = dictOf(value);
  if (!dict || depth === 0 || seen.has(dict)) return undefined;
  seen.add(dict);
  for (const name of stateDictNames) {
    const found = findStateDict(dict.get(name), depth - 1, seen);
    if (found) return found;
  }
  for (const item of dict.values()) if (item instanceof Tensor) return dict;
  for (const [name, item] of dict) {
    // Not the state of an optimizer, nor averaged weights beside the model's own.
    if (typeof name !== 'string' || /optim|sched|scaler|^ema/i.test(name)) continue;
    const found = findStateDict(item, depth - 1, seen);
    if (found) return found;
  }
  return undefined;
}

function noStateDict(file: InputFile, value: PickleValue): Gpt2Error {
  const places: (PickleValue | undefined)[] = [value, ...(dictOf(value)?.values() ?? [])];
  const module = places.find(
    (each) =>
      each instanceof PickleObject && fieldsOf(each).some((fields) => fields.has('_modules')),
  );
  if (module instanceof PickleObject) {
    return new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: it holds a whole module, an object of the class ${module.name}, which only Python code can rebuild; save its state dict instead: torch.save(model.state_dict(), "pytorch_model.bin")`,
    );
  }
  if (value instanceof PickleObject) {
    return new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: expected a dict of tensors by name but found an object of the class ${value.name}; save the state dict: torch.save(model.state_dict(), "pytorch_model.bin")`,
    );
  }
  return file.invalid('it holds no state dict: expected a dict of tensors by name');
}

/** The items of a dict, or the attributes and items of an object. */
function fieldsOf(value: PickleValue | undefined): Dict[] {
  if (value instanceof Map) return [value];
  if (!(value instanceof PickleObject)) return [];
  // An object with __slots__ has a tuple of two dicts.
  const states = Array.isArray(value.state) ? value.state.slice(0, 2) : [value.state];
  return [...states, value.items].filter((state) => state instanceof Map);
}

/** The simple values by their names. */
function settingsOf(fields: readonly Dict[]): Settings {
  const settings: Record<string, unknown> = Object.create(null);
  for (const dict of fields) {
    for (const [name, setting] of dict) {
      const isSimple = setting === null || ['string', 'number', 'boolean'].includes(typeof setting);
      if (typeof name === 'string' && isSimple) settings[name] = setting;
    }
  }
  return settings;
}

const deepestSettings = 3;
// Objects that occur many times would make the search exponential.
const maxObjectsPerLevel = 1000;

/** The settings of the first object, level by level, that has a number of heads. */
function findSettings(value: PickleValue): Settings | undefined {
  let level: PickleValue[] = [value];
  for (let depth = 0; depth < deepestSettings; depth++) {
    const next = new Set<PickleValue>();
    for (const each of level) {
      const fields = fieldsOf(each);
      const hasHeads = (dict: Dict) =>
        trainingNames.headCount.some((name) => typeof dict.get(name) === 'number');
      if (fields.some(hasHeads)) return settingsOf(fields);
      for (const field of fields.flatMap((dict) => [...dict.values()])) {
        if (next.size === maxObjectsPerLevel) break;
        if (field instanceof PickleObject || field instanceof Map) next.add(field);
      }
    }
    level = [...next];
  }
  return undefined;
}

function toEntry(file: InputFile, name: string, tensor: Tensor, location: Location): WeightEntry {
  const { storage, offset, shape, strides } = tensor;
  const bytes = elementBytes[storage.dtype] as number;
  const count = shape.reduce((product, extent) => product * extent, 1);
  // The elements from the tensor's first to its last.
  const span =
    count === 0
      ? 0
      : shape.reduce((sum, extent, axis) => sum + (extent - 1) * (strides[axis] as number), 1);
  const end = (offset + span) * bytes;
  // Every reference to a storage states its size, which may exceed the real size.
  if (end > location.byteSize || location.offset + end > file.size) {
    throw file.invalid(
      `the tensor "${name}" extends beyond its storage of ${location.byteSize} bytes`,
    );
  }
  return {
    file,
    dtype: storage.dtype,
    shape,
    strides,
    offset: location.offset + offset * bytes,
    byteSize: count * bytes,
    storedBytes: Math.min(count, span) * bytes,
  };
}
