// Reads Python pickles without executing anything. A handler returns the result of each function call in a pickle.
// Everything else is refused.
// Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py

/** A class or function, identified by its name, such as `collections.OrderedDict`. */
export class PickleGlobal {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** Lists and tuples become arrays, dicts become maps, integers beyond 2^53 become bigints. */
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

/** Creates the objects of a pickle. Both methods throw PickleError for input that is not allowed. */
export interface PickleHandler {
  /** Returns the result of a call. */
  call(name: string, args: readonly PickleValue[]): PickleValue;
  /** Returns the object stored outside the pickle under a persistent id. */
  persistent(id: PickleValue): PickleValue;
}

export class PickleError extends Error {}

/** The pickle uses a class or function that is not allowed. */
export class PickleRefusal extends PickleError {}

// Limits on the memory and time that a small file can cost. A checkpoint of a GPT-2 of 48 layers with its optimizer state
// uses a third of them.
const maxSteps = 600_000;
const maxObjects = 100_000;
const maxMemoEntries = 100_000;
const maxStackDepth = 100_000;
// Limits integer keys of dicts: larger ones could be chosen to collide in V8's hash table.
const maxKey = 1_000_000;

const mark = Symbol('mark');
type StackValue = PickleValue | typeof mark;

/** Reads consecutive pickles from one buffer. */
export class PickleReader {
  /** Offset of the next byte. */
  position = 0;
  readonly #bytes: Buffer;
  readonly #handler: PickleHandler;
  #stack: StackValue[] = [];
  #memo = new Map<number, PickleValue>();
  #steps = 0;
  #objects = 0;

  constructor(bytes: Buffer, handler: PickleHandler) {
    this.#bytes = bytes;
    this.#handler = handler;
  }

  /** Reads the next pickle and returns its value. */
  next(): PickleValue {
    this.#stack = [];
    this.#memo = new Map();
    for (;;) {
      const start = this.position;
      const opcode = this.#uint(1);
      if (opcode === 0x2e) return this.#pop(); // STOP
      if (++this.#steps > maxSteps) throw new PickleError(`it has more than ${maxSteps} opcodes`);
      if (!this.#step(opcode)) {
        throw new PickleError(
          `the opcode ${opcode} at byte ${start} does not occur in state dicts`,
        );
      }
      if (this.#stack.length > maxStackDepth) throw new PickleError('its stack grows too deep');
    }
  }

  /** Executes an opcode; returns false if it is unknown. */
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
          throw new PickleError('it names a class by a value that is not a string');
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
        this.#objects++; // takes as much memory as two other objects
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
        this.#memoize(this.#uint(1));
        break;
      case 'r': // LONG_BINPUT
        this.#memoize(this.#uint(4));
        break;
      case '\x94': // MEMOIZE
        this.#memoize(this.#memo.size);
        break;
      case 'h': // BINGET
        this.#pushFromMemo(this.#uint(1));
        break;
      case 'j': // LONG_BINGET
        this.#pushFromMemo(this.#uint(4));
        break;
      case 'Q': // BINPERSID
        this.#pushObject(this.#handler.persistent(this.#pop()));
        break;
      case 'R': {
        // REDUCE
        const args = this.#pop();
        const callee = this.#pop();
        if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) {
          throw new PickleError('it calls a value that is not a named function');
        }
        this.#pushObject(this.#handler.call(callee.name, args));
        break;
      }
      case '\x81': // NEWOBJ
      case '\x92': // NEWOBJ_EX
        throw new PickleRefusal(`it contains an object of the class ${this.#nameOfClass(opcode)}`);
      case 'b': // BUILD: sets attributes of an object; a state dict's attributes do not concern its tensors
        this.#pop();
        if (!(this.#top() instanceof Map)) {
          throw new PickleRefusal('it sets attributes of a value that is not a dict');
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
    if (++this.#objects > maxObjects) {
      throw new PickleError(`it contains more than ${maxObjects} objects`);
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
    if (!Array.isArray(list)) throw new PickleError('it appends to a value that is not a list');
    return list;
  }

  #setItems(items: readonly PickleValue[]): void {
    const map = this.#top();
    if (!(map instanceof Map)) throw new PickleError('it sets items of a value that is not a dict');
    for (let i = 0; i + 1 < items.length; i += 2) {
      const key = items[i];
      const isIndex = typeof key === 'number' && key >= 0 && key <= maxKey;
      if (typeof key !== 'string' && !isIndex) {
        throw new PickleError(
          'it contains a dict whose keys are neither strings nor small integers',
        );
      }
      map.set(key, items[i + 1] as PickleValue);
    }
  }

  #memoize(number: number): void {
    if (number >= maxMemoEntries)
      throw new PickleError(`it uses more than ${maxMemoEntries} memo entries`);
    this.#memo.set(number, this.#top());
  }

  /** The class lies on the stack below its constructor's arguments: a tuple, or a tuple and a dict. */
  #nameOfClass(opcode: number): string {
    this.#popSeveral(opcode === 0x92 ? 2 : 1);
    const callee = this.#pop();
    return callee instanceof PickleGlobal ? callee.name : 'no name';
  }

  #pushFromMemo(number: number): void {
    const value = this.#memo.get(number);
    if (value === undefined) throw new PickleError(`it has no memo entry ${number}`);
    this.#stack.push(value);
  }

  #take(count: number): Buffer {
    if (count < 0 || this.position + count > this.#bytes.length) {
      throw new PickleError('it is truncated');
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
    if (end < 0) throw new PickleError('it is truncated');
    const line = this.#text(end - this.position);
    this.position = end + 1;
    return line;
  }
}

/** Decodes a little-endian integer in two's complement. */
function toInteger(bytes: Buffer): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
  const signed = BigInt.asIntN(8 * bytes.length, value);
  return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
}
