import { Gpt2Error } from '../errors.js';
import type { InputFile } from '../input-file.js';
import type { ModuleRole, NativeTensorPart, TensorType } from '../native/types.js';
import type { ExpectedTensor } from './layouts.js';
import { elementBytes, type WeightEntry } from './weight-entry.js';

/** A matrix in a file; a vector is a matrix of one row. */
export interface TensorPart {
  entry: WeightEntry;
  dtype: WeightDtype;
  rows: number;
  columns: number;
  /** From one row to the next, in elements. */
  rowStride: number;
  /** From one element of a row to the next, in elements. */
  columnStride: number;
  /** Whether GGUF stores its transpose. */
  transpose: boolean;
}

export type WeightDtype = 'F64' | 'F32' | 'F16' | 'BF16';

const nativeTypes = { F64: 'f64', F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;

/** A part as the engine takes it. */
export function nativePart({ entry, dtype, ...part }: TensorPart): NativeTensorPart {
  return { ...part, file: entry.file.native, offset: entry.offset, type: nativeTypes[dtype] };
}

/** The type in which a tensor is kept if no other is requested: its own, or f32 for F64 and for mixtures. */
export function ownType({ parts }: CheckpointTensor): TensorType {
  const [own = 'F32', ...others] = new Set(parts.map((part) => part.dtype));
  return others.length > 0 || own === 'F64' ? 'f32' : nativeTypes[own];
}

/** A tensor of the model and the location of its elements. */
export interface CheckpointTensor {
  /** The name in GGUF. */
  name: string;
  role: ModuleRole;
  isVector: boolean;
  /** Elements per row in GGUF. */
  rowLength: number;
  rows: number;
  /** Concatenated along the rows. */
  parts: readonly TensorPart[];
}

/** The tensor that is made of its sources. All of them are among the weights. */
export function toTensor(
  { tensor, sources, shape, transpose }: ExpectedTensor,
  weights: ReadonlyMap<string, WeightEntry>,
): CheckpointTensor {
  const parts = sources.map((source) =>
    toPart(source, weights.get(source) as WeightEntry, shape, transpose),
  );
  const { name, isVector, rowLength, rows, module } = tensor;
  return { name, role: module.role, isVector, rowLength, rows, parts };
}

/**
 * The matrix or vector in an entry.
 *
 * @param source its name, for error messages
 * @param shape the expected shape
 * @throws INVALID_FILE for another shape, UNSUPPORTED_MODEL for numbers of another type
 */
export function toPart(
  source: string,
  entry: WeightEntry,
  shape: readonly number[],
  transpose: boolean,
): TensorPart {
  const { file, dtype } = entry;
  // TensorFlow's linear layers are convolutions of width 1: their shape has a leading 1.
  const first = entry.shape.findIndex(
    (extent, axis) => extent !== 1 || axis >= entry.shape.length - shape.length,
  );
  const found = entry.shape.slice(first);
  if (found.length !== shape.length || shape.some((extent, axis) => extent !== found[axis])) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${file.path}: expected the tensor "${source}" to have the shape [${shape.join(', ')}] but found [${entry.shape.join(', ')}]`,
    );
  }
  if (dtype !== 'F64' && dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: expected the tensor "${source}" to be F64, F32, F16 or BF16 but found ${dtype}`,
    );
  }
  const isVector = shape.length === 1;
  const [rows, columns] = (isVector ? [1, ...shape] : shape) as [number, number];
  const strides = entry.strides.slice(first);
  const [rowStride, columnStride] = (isVector ? [columns, ...strides] : strides) as [
    number,
    number,
  ];
  const part = { entry, dtype: dtype as WeightDtype, rows, columns, rowStride, columnStride };
  if (isVector) return { ...part, transpose: false };
  // A column-major matrix is the transpose of a row-major one.
  if (rowStride === 0 || rowStride >= columnStride) return { ...part, transpose };
  return {
    ...part,
    rows: columns,
    columns: rows,
    rowStride: columnStride,
    columnStride: rowStride,
    transpose: !transpose,
  };
}

// What tensors that were expanded (torch.Tensor.expand) may add to the bytes of the files.
const expansionAllowance = 1 << 20;

/** Refuses tensors that share their bytes: a small file could expand to a huge model. */
export function checkOverlap(
  source: string,
  files: readonly InputFile[],
  parts: readonly TensorPart[],
): void {
  const claimed = parts.reduce((sum, { entry }) => sum + entry.storedBytes, 0);
  const all = parts.reduce((sum, { entry }) => sum + entry.byteSize, 0);
  const available = files.reduce((sum, { size }) => sum + size, 0);
  if (claimed > available || all > 2 * available + expansionAllowance) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${source}: its tensors claim ${all} bytes, but its files hold ${available}: they overlap`,
    );
  }
}

/** Whether two parts are the same bytes. */
export function areSame(a: TensorPart | undefined, b: TensorPart | undefined): boolean {
  return (
    a?.entry.file === b?.entry.file &&
    a?.entry.offset === b?.entry.offset &&
    a?.dtype === b?.dtype &&
    a?.rowStride === b?.rowStride &&
    a?.columnStride === b?.columnStride &&
    a?.transpose === b?.transpose
  );
}

/** Whether two parts hold the same numbers, stored in the same type. */
export async function areEqual(
  a: TensorPart | undefined,
  b: TensorPart | undefined,
): Promise<boolean> {
  if (!a || !b || a.dtype !== b.dtype || a.transpose !== b.transpose) return false;
  const chunk = 1 << 22; // elements
  const widest = Math.max(
    a.columns, // strides may be 0
    a.rowStride,
    b.rowStride,
    a.columns * a.columnStride,
    b.columns * b.columnStride,
  );
  const step = Math.max(1, Math.floor(chunk / widest));
  for (let row = 0; row < a.rows; row += step) {
    const count = Math.min(step, a.rows - row);
    // One after the other: a failure must not leave a read running in a file that is then closed.
    const left = await readRows(a, row, count);
    const right = await readRows(b, row, count);
    if (Buffer.compare(left, right) !== 0) return false;
  }
  return true;
}

/** Reads rows of a matrix without the gaps between its elements. */
async function readRows(part: TensorPart, first: number, count: number): Promise<Buffer> {
  const { entry, columns, rowStride, columnStride } = part;
  const span = (count - 1) * rowStride + (columns - 1) * columnStride + 1;
  const stored = await readSpan(entry, first * rowStride, span);
  if (columnStride === 1 && rowStride === columns) return stored;
  const bytes = stored.length / span;
  const rows = Buffer.alloc(count * columns * bytes);
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * rowStride + column * columnStride) * bytes;
      stored.copy(rows, (row * columns + column) * bytes, from, from + bytes);
    }
  }
  return rows;
}

/** Reads elements of a tensor's storage, counted from the tensor's first. */
export async function readSpan(entry: WeightEntry, start: number, count: number): Promise<Buffer> {
  const bytes = elementBytes[entry.dtype] ?? 0;
  return await entry.file.read(entry.offset + start * bytes, count * bytes);
}
