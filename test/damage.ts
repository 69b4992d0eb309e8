// Arbitraries for damage to files: changed bytes, and JSON with replaced values. The damage is described by plain
// objects, so that fast-check can print it when a test fails.

import fc from 'fast-check';

export type ByteDamage = { at: number } & (
  | { kind: 'flip'; bit: number }
  | { kind: 'overwrite'; bytes: Uint8Array }
  | { kind: 'insert'; bytes: Uint8Array }
  | { kind: 'remove'; count: number }
  | { kind: 'swap'; with: number; count: number }
  | { kind: 'truncate' }
);

const offset = fc.nat(1 << 16);
const count = fc.integer({ min: 1, max: 64 });
// Boundary values of the integer types in which file formats store sizes.
const edges = [0n, 1n, 0x7fn, 0xffn, 0x7fff_ffffn, 0xffff_ffffn, 1n << 32n, 1n << 53n, 1n << 63n];
const bytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 16 }),
  fc
    .constantFrom(...edges, (1n << 64n) - 1n)
    .map((number) => new Uint8Array(BigUint64Array.of(number).buffer)),
);

export const byteDamage: fc.Arbitrary<ByteDamage> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: offset, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('overwrite' as const), at: offset, bytes }),
  fc.record({ kind: fc.constant('insert' as const), at: offset, bytes }),
  fc.record({ kind: fc.constant('remove' as const), at: offset, count }),
  fc.record({ kind: fc.constant('swap' as const), at: offset, with: offset, count }),
  fc.record({ kind: fc.constant('truncate' as const), at: offset }),
);

export function damageBytes(file: Buffer, damage: ByteDamage): Buffer {
  if (file.length === 0) return file;
  const at = damage.at % file.length;
  const changed = Buffer.from(file);
  switch (damage.kind) {
    case 'flip':
      changed[at] = (changed[at] as number) ^ (1 << damage.bit);
      return changed;
    case 'overwrite':
      changed.set(damage.bytes.subarray(0, file.length - at), at);
      return changed;
    case 'insert':
      return Buffer.concat([file.subarray(0, at), damage.bytes, file.subarray(at)]);
    case 'remove':
      return Buffer.concat([file.subarray(0, at), file.subarray(at + damage.count)]);
    case 'swap': {
      const other = damage.with % file.length;
      const length = Math.min(damage.count, file.length - at, file.length - other);
      file.copy(changed, at, other, other + length);
      file.copy(changed, other, at, at + length);
      return changed;
    }
    case 'truncate':
      return changed.subarray(0, at);
  }
}

/** Replaces the value at a path in a JSON text. A step of the path is an index among the children. */
export interface JsonDamage {
  steps: number[];
  text: string;
}

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
const hostileTexts = [
  '',
  'null',
  'true',
  '0',
  '-0',
  '-1',
  '0.5',
  '1e-60',
  '1e300',
  '1e999',
  '9007199254740993',
  '2147483647',
  '4294967296',
  '"NaN"',
  '"Infinity"',
  '"constructor"',
  '"\\ud800"',
  '"\\u0000"',
  `"${'long'.repeat(1 << 16)}"`,
  '[]',
  '{}',
  nested(1 << 14),
  '[1,[2,[3]]]',
  '{"__proto__":{"polluted":true}}',
  '{"toString":1,"valueOf":1}',
  '{"length":-1}',
  '{"then":1}',
  // More than one value: duplicate keys or invalid JSON.
  '1,"model_type":"llama"',
  '1,"vocab_size":7,"n_embd":2',
  '1,"__proto__":{"n_layer":1}',
];

export const jsonDamage: fc.Arbitrary<JsonDamage> = fc.record({
  steps: fc.array(fc.nat(63), { maxLength: 6 }),
  text: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...hostileTexts) },
    { weight: 1, arbitrary: fc.oneof(fc.integer().map(String), fc.json()) },
  ),
});

/** Returns the JSON text with one of its values replaced. */
export function damageJson(json: string, { steps, text }: JsonDamage): string {
  const hole = '\ue000';
  const withHole = (value: unknown, depth: number): unknown => {
    if (depth === steps.length || typeof value !== 'object' || value === null) return hole;
    const entries = Object.entries(value);
    if (entries.length === 0) return hole;
    const [key, child] = entries[(steps[depth] as number) % entries.length] as [string, unknown];
    const changed = withHole(child, depth + 1);
    return Array.isArray(value)
      ? value.with(Number(key), changed)
      : Object.fromEntries([...entries, [key, changed]]);
  };
  // Replaced through a function, since the new text may contain "$&".
  return JSON.stringify(withHole(JSON.parse(json), 0)).replace(`"${hole}"`, () => text);
}
