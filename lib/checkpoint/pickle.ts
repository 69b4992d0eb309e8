// Python's pickles, read without executing anything: what they call is made by who reads them, or refused.
// Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py

/** A class or function by its name, such as `collections.OrderedDict`. */
export class PickleGlobal {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** Lists and tuples are arrays, dicts are maps, integers beyond 2^53 are bigints. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleGlobal
  | object;

/** What a pickle means in its place. Both throw PickleError for what is not allowed. */
export interface PickleMeaning {
  /** What a call gives. */
  call(name: string, args: readonly PickleValue[]): PickleValue;
  /** What stands outside of the pickle. */
  persistent(id: PickleValue): PickleValue;
}

export class PickleError extends Error {}

/** A call of something that is not allowed. */
export class PickleRefusal extends PickleError {}

// Bounds for what a small file can make of itself; the checkpoint of a GPT-2 of 48 layers with its
// optimizer's state takes a third of them.
const mostSteps = 600_000;
const mostObjects = 100_000;
const mostMemorized = 100_000;
const deepestStack = 100_000;
// Of a dict that counts: chosen well, larger numbers would all get into one place of its table.
const largestKey = 1_000_000;

const mark = Symbol('mark');
type StackValue = PickleValue | typeof mark;

/** Reads one pickle after the other from the same bytes. */
export class PickleReader {
  /** the next byte */
  position = 0;
  readonly #bytes: Buffer;
  readonly #meaning: PickleMeaning;
  #stack: StackValue[] = [];
  #memo = new Map<number, PickleValue>();
  #steps = 0;
  #objects = 0;

  constructor(bytes: Buffer, meaning: PickleMeaning) {
    this.#bytes = bytes;
    this.#meaning = meaning;
  }

  /** The next pickle's value. */
  next(): PickleValue {
    this.#stack = [];
    this.#memo = new Map();
    for (;;) {
      const start = this.position;
      const opcode = this.#uint(1);
      if (opcode === 0x2e) return this.#pop(); // STOP
      if (++this.#steps > mostSteps) throw new PickleError(`it has more than ${mostSteps} steps`);
      if (!this.#step(opcode)) {
        throw new PickleError(`the byte ${opcode} at ${start} is no opcode of a state dict`);
      }
      if (this.#stack.length > deepestStack) throw new PickleError('its stack grows too deep');
    }
  }

  /** Whether the opcode is one that we know. */
  #step(opcode: number): boolean {
    switch (String.fromCharCode(opcode)) {
      case '\x80': // PROTO
        this.#uint(1);
        break;
      case '\x95': // FRAME
        this.#take(8);
        break;
      case '(': // MARK
        this.#stack.push(mark);
        break;
      case '0': // POP
        if (this.#stack.pop() === undefined) throw new PickleError('its stack is empty');
        break;
      case '1': // POP_MARK
        this.#popToMark();
        break;
      case 'N':
        this.#push(null);
        break;
      case '\x88':
        this.#push(true);
        break;
      case '\x89':
        this.#push(false);
        break;
      default:
        return this.#stepOfNumber(opcode) || this.#stepOfText(opcode) || this.#stepOfObject(opcode);
    }
    return true;
  }

  #stepOfNumber(opcode: number): boolean {
    switch (String.fromCharCode(opcode)) {
      case 'K': // BININT1
        this.#push(this.#uint(1));
        break;
      case 'M': // BININT2
        this.#push(this.#uint(2));
        break;
      case 'J': // BININT
        this.#push(this.#take(4).readInt32LE());
        break;
      case 'G': // BINFLOAT
        this.#push(this.#take(8).readDoubleBE());
        break;
      case '\x8a': // LONG1
        this.#push(toInteger(this.#take(this.#uint(1))));
        break;
      default:
        return false;
    }
    return true;
  }

  #stepOfText(opcode: number): boolean {
    switch (String.fromCharCode(opcode)) {
      case 'X': // BINUNICODE
        this.#pushObject(this.#text(this.#uint(4)));
        break;
      case '\x8c': // SHORT_BINUNICODE
      case 'U': // SHORT_BINSTRING
        this.#pushObject(this.#text(this.#uint(1)));
        break;
      case 'T': // BINSTRING
        this.#pushObject(this.#text(this.#take(4).readInt32LE()));
        break;
      case 'C': // SHORT_BINBYTES
        this.#pushObject(this.#take(this.#uint(1)));
        break;
      case 'B': // BINBYTES
        this.#pushObject(this.#take(this.#uint(4)));
        break;
      case 'c': // GLOBAL
        this.#pushObject(new PickleGlobal(`${this.#line()}.${this.#line()}`));
        break;
      case '\x93': {
        // STACK_GLOBAL
        const name = this.#pop();
        const module = this.#pop();
        if (typeof name !== 'string' || typeof module !== 'string') {
          throw new PickleError('it names a class by something that is no text');
        }
        this.#pushObject(new PickleGlobal(`${module}.${name}`));
        break;
      }
      default:
        return false;
    }
    return true;
  }

  #stepOfObject(opcode: number): boolean {
    switch (String.fromCharCode(opcode)) {
      case ')': // EMPTY_TUPLE
      case ']': // EMPTY_LIST
        this.#pushObject([]);
        break;
      case '}': // EMPTY_DICT
        this.#objects++; // as large as two others
        this.#pushObject(new Map());
        break;
      case 't': // TUPLE
        this.#pushObject(this.#popToMark());
        break;
      case '\x85':
      case '\x86':
      case '\x87': // TUPLE1 to TUPLE3
        this.#pushObject(this.#popSeveral(opcode - 0x84));
        break;
      case 'a': {
        // APPEND
        const item = this.#pop();
        this.#topList().push(item);
        break;
      }
      case 'e': {
        // APPENDS
        const items = this.#popToMark();
        const list = this.#topList();
        for (const item of items) list.push(item);
        break;
      }
      case 's': // SETITEM
        this.#setItems(this.#popSeveral(2));
        break;
      case 'u': // SETITEMS
        this.#setItems(this.#popToMark());
        break;
      case 'q': // BINPUT
        this.#memorize(this.#uint(1));
        break;
      case 'r': // LONG_BINPUT
        this.#memorize(this.#uint(4));
        break;
      case '\x94': // MEMOIZE
        this.#memorize(this.#memo.size);
        break;
      case 'h': // BINGET
        this.#recall(this.#uint(1));
        break;
      case 'j': // LONG_BINGET
        this.#recall(this.#uint(4));
        break;
      case 'Q': // BINPERSID
        this.#pushObject(this.#meaning.persistent(this.#pop()));
        break;
      case 'R': {
        // REDUCE
        const args = this.#pop();
        const callee = this.#pop();
        if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) {
          throw new PickleError('it calls something that has no name');
        }
        this.#pushObject(this.#meaning.call(callee.name, args));
        break;
      }
      case '\x81': // NEWOBJ
      case '\x92': // NEWOBJ_EX
        throw new PickleRefusal(`it has an object of the class ${this.#nameOfClass(opcode)}`);
      case 'b': // BUILD: attributes of an object; those of a state dict say nothing about its tensors
        this.#pop();
        if (!(this.#top() instanceof Map)) {
          throw new PickleRefusal('it sets the attributes of something that is no dict');
        }
        break;
      default:
        return false;
    }
    return true;
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  #pushObject(value: PickleValue): void {
    if (++this.#objects > mostObjects) {
      throw new PickleError(`it has more than ${mostObjects} objects`);
    }
    this.#stack.push(value);
  }

  #top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw new PickleError('its stack is empty');
    return value as PickleValue;
  }

  #pop(): PickleValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popSeveral(count: number): PickleValue[] {
    const values = Array.from({ length: count }, () => this.#pop());
    return values.reverse();
  }

  #popToMark(): PickleValue[] {
    const at = this.#stack.lastIndexOf(mark);
    if (at < 0) throw new PickleError('its stack has no mark');
    const values = this.#stack.splice(at);
    return values.slice(1) as PickleValue[];
  }

  #topList(): PickleValue[] {
    const list = this.#top();
    if (!Array.isArray(list)) throw new PickleError('it appends to something that is no list');
    return list;
  }

  #setItems(items: readonly PickleValue[]): void {
    const map = this.#top();
    if (!(map instanceof Map)) throw new PickleError('it sets items of something that is no dict');
    for (let i = 0; i + 1 < items.length; i += 2) {
      const key = items[i];
      const isIndex = typeof key === 'number' && key >= 0 && key <= largestKey;
      if (typeof key !== 'string' && !isIndex) {
        throw new PickleError('it has a dict whose keys are neither texts nor small numbers');
      }
      map.set(key, items[i + 1] as PickleValue);
    }
  }

  #memorize(number: number): void {
    if (number >= mostMemorized) throw new PickleError('it remembers too much');
    this.#memo.set(number, this.#top());
  }

  /** Below the arguments of its constructor: a tuple, or a tuple and a dict. */
  #nameOfClass(opcode: number): string {
    this.#popSeveral(opcode === 0x92 ? 2 : 1);
    const callee = this.#pop();
    return callee instanceof PickleGlobal ? callee.name : 'no name';
  }

  #recall(number: number): void {
    const value = this.#memo.get(number);
    if (value === undefined) throw new PickleError(`it has no object of the number ${number}`);
    this.#stack.push(value);
  }

  #take(count: number): Buffer {
    if (count < 0 || this.position + count > this.#bytes.length) {
      throw new PickleError('it ends in the middle');
    }
    this.position += count;
    return this.#bytes.subarray(this.position - count, this.position);
  }

  #uint(bytes: 1 | 2 | 4): number {
    return this.#take(bytes).readUIntLE(0, bytes);
  }

  #text(length: number): string {
    return this.#take(length).toString('utf8');
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.position);
    if (end < 0) throw new PickleError('it ends in the middle');
    const line = this.#text(end - this.position);
    this.position = end + 1;
    return line;
  }
}

/** Little-endian, two's complement. */
function toInteger(bytes: Buffer): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
  const signed = BigInt.asIntN(8 * bytes.length, value);
  return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
}
