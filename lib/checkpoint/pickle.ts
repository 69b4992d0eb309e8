// Reads Python pickles without executing anything. A handler returns the result of each function call in a pickle. Calls
// and objects that it does not interpret become inert PickleObjects.
// Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py

/** A class or function, identified by its name, such as `collections.OrderedDict`. */
export class PickleGlobal {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** An object of a class that is not interpreted, or the result of a function that is not called. */
export class PickleObject {
  /** The name of the class or function. */
  readonly name: string;
  readonly args: readonly PickleValue[];
  /** The attributes in the form that the class pickles them: mostly a dict. */
  state: PickleValue = null;
  /** The items of a subclass of dict. */
  items: Map<PickleValue, PickleValue> | undefined;

  constructor(name: string, args: readonly PickleValue[]) {
    this.name = name;
    this.args = args;
  }
}

// Modules and functions that only an attack needs. They would not be called in any case: such a file is refused so that
// its owner learns of it.
const harmful =
  /^(os|posix|nt|sys|subprocess|shutil|socket|pty|runpy|importlib|ctypes|webbrowser|commands)\.|^(builtins|__builtin__)\.(eval|exec|execfile|compile|open|__import__|input|breakpoint)$/;

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
  /** Returns the result of a call, or undefined if the handler does not interpret it. */
  call(name: string, args: readonly PickleValue[]): PickleValue | undefined;
  /** Returns the object stored outside the pickle under a persistent id. */
  persistent(id: PickleValue): PickleValue;
}

export class PickleError extends Error {}

/** The pickle holds something that is refused rather than damaged. */
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
      case '2': // DUP
        this.#push(this.#top());
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
      case '\x8b': {
        // LONG4. Python writes it for integers of more than 255 bytes, which take quadratic time to decode.
        this.#take(this.#uint(4));
        this.#pushObject(new PickleObject('int', []));
        break;
      }
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
      case '\x8d': // BINUNICODE8
        this.#pushObject(this.#text(this.#length()));
        break;
      case '\x8e': // BINBYTES8
      case '\x96': // BYTEARRAY8
        this.#pushObject(this.#take(this.#length()));
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
      case '\x8f': // EMPTY_SET
        this.#pushObject(new PickleObject('set', []));
        break;
      case '\x91': // FROZENSET
        this.#popToMark();
        this.#pushObject(new PickleObject('frozenset', []));
        break;
      case '\x90': // ADDITEMS
        this.#append(this.#popToMark());
        break;
      case 'l': // LIST
        this.#pushObject(this.#popToMark());
        break;
      case 'd': {
        // DICT
        const items = this.#popToMark();
        this.#objects++;
        this.#pushObject(new Map());
        this.#setItems(items);
        break;
      }
      case 'a': // APPEND
        this.#append([this.#pop()]);
        break;
      case 'e': // APPENDS
        this.#append(this.#popToMark());
        break;
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
        this.#pushCall(callee.name, args);
        break;
      }
      case '\x92': // NEWOBJ_EX: a class, a tuple and a dict of arguments
        this.#pop();
        this.#pushInstance();
        break;
      case '\x81': // NEWOBJ
        this.#pushInstance();
        break;
      case 'b': {
        // BUILD: sets attributes. Those of a state dict (its _metadata) do not concern its tensors.
        const state = this.#pop();
        const object = this.#top();
        if (object instanceof PickleObject) object.state = state;
        break;
      }
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

  /** Pushes the handler's result of a call, or an inert object. */
  #pushCall(name: string, args: readonly PickleValue[]): void {
    if (harmful.test(name)) {
      throw new PickleRefusal(
        `it calls ${name}, which no checkpoint needs: the file may be malicious (it was not executed)`,
      );
    }
    const result = this.#handler.call(name, args);
    if (result !== undefined) {
      this.#pushObject(result);
      return;
    }
    this.#objects++; // takes as much memory as two other objects
    this.#pushObject(new PickleObject(name, args));
  }

  /** The class lies on the stack below its constructor's arguments. */
  #pushInstance(): void {
    const args = this.#pop();
    const type = this.#pop();
    if (!(type instanceof PickleGlobal) || !Array.isArray(args)) {
      throw new PickleError('it makes an instance of a value that is not a class');
    }
    this.#pushCall(type.name, args);
  }

  /** The items of objects that are not lists, such as sets, are not needed. */
  #append(items: readonly PickleValue[]): void {
    const list = this.#top();
    if (list instanceof PickleObject) return;
    if (!Array.isArray(list)) throw new PickleError('it appends to a value that is not a list');
    for (const item of items) list.push(item);
  }

  #topDict(): Map<PickleValue, PickleValue> {
    const value = this.#top();
    if (value instanceof Map) return value;
    if (!(value instanceof PickleObject)) {
      throw new PickleError('it sets items of a value that is not a dict');
    }
    if (!value.items) {
      this.#objects += 2;
      value.items = new Map();
    }
    return value.items;
  }

  /** Items whose keys are neither strings nor small integers are dropped: a state dict has none. */
  #setItems(items: readonly PickleValue[]): void {
    const map = this.#topDict();
    for (let i = 0; i + 1 < items.length; i += 2) {
      const key = items[i];
      const isIndex = typeof key === 'number' && key >= 0 && key <= maxKey && Number.isInteger(key);
      if (typeof key === 'string' || isIndex) map.set(key, items[i + 1] as PickleValue);
    }
  }

  #memoize(number: number): void {
    if (number >= maxMemoEntries)
      throw new PickleError(`it uses more than ${maxMemoEntries} memo entries`);
    this.#memo.set(number, this.#top());
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

  /** A length of eight bytes. */
  #length(): number {
    return Number(this.#take(8).readBigUInt64LE());
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
