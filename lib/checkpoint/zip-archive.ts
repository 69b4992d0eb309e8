import type { InputFile } from '../input-file.js';

/** A file in a ZIP archive. */
interface Member {
  method: number;
  isEncrypted: boolean;
  byteSize: number;
  headerOffset: number;
}

const endSignature = 0x06054b50;
const endSize = 22;
const locatorSignature = 0x07064b50;
const locatorSize = 20;
const end64Signature = 0x06064b50;
const end64Size = 56;
const memberSignature = 0x02014b50;
const memberSize = 46;
const localSignature = 0x04034b50;
const localSize = 30;
const maxCommentBytes = 0xffff;
// Marks a number that needs 64 bits and is stored in the extra field.
const inExtraField = 0xffffffff;
const zip64Extra = 1;
const stored = 0;
// The archive of a GPT-2 of 48 layers has 600 members.
const maxMembers = 20_000;
const maxDirectoryBytes = 4_000_000;

/**
 * A ZIP archive with uncompressed members, as PyTorch writes it.
 * Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 to 4.5
 */
export class ZipArchive {
  readonly #file: InputFile;
  readonly #members: ReadonlyMap<string, Member>;

  private constructor(file: InputFile, members: ReadonlyMap<string, Member>) {
    this.#file = file;
    this.#members = members;
  }

  static async open(file: InputFile): Promise<ZipArchive> {
    const directory = await findDirectory(file);
    const bytes = await file.read(directory.offset, directory.byteSize);
    return new ZipArchive(file, readMembers(file, bytes, directory.count));
  }

  get names(): Iterable<string> {
    return this.#members.keys();
  }

  /** Finds a member's bytes in the file. */
  async locate(name: string): Promise<{ offset: number; byteSize: number }> {
    const member = this.#members.get(name);
    if (!member) throw this.#file.invalid(`the archive has no member "${name}"`);
    if (member.method !== stored || member.isEncrypted) {
      throw this.#file.invalid(`the member "${name}" of the archive is compressed or encrypted`);
    }
    const header = await this.#file.read(member.headerOffset, localSize);
    if (header.readUInt32LE(0) !== localSignature) {
      throw this.#file.invalid(`the archive's member "${name}" is not where its directory says`);
    }
    const offset =
      member.headerOffset + localSize + header.readUInt16LE(26) + header.readUInt16LE(28);
    if (offset + member.byteSize > this.#file.size) {
      throw this.#file.invalid(`the archive's member "${name}" extends beyond the end of the file`);
    }
    return { offset, byteSize: member.byteSize };
  }

  async read(name: string, maxBytes: number): Promise<Buffer> {
    const { offset, byteSize } = await this.locate(name);
    if (byteSize > maxBytes) {
      throw this.#file.invalid(
        `expected "${name}" to have at most ${maxBytes} bytes but found ${byteSize}`,
      );
    }
    return await this.#file.read(offset, byteSize);
  }
}

interface Directory {
  offset: number;
  byteSize: number;
  count: number;
}

// It lies at the end of the file, before an optional comment.
async function findDirectory(file: InputFile): Promise<Directory> {
  const tailSize = Math.min(file.size, endSize + maxCommentBytes);
  const tail = await file.read(file.size - tailSize, tailSize);
  for (let at = tailSize - endSize; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== endSignature) continue;
    const directory = {
      count: tail.readUInt16LE(at + 10),
      byteSize: tail.readUInt32LE(at + 12),
      offset: tail.readUInt32LE(at + 16),
    };
    const position = file.size - tailSize + at;
    const zip64 = await findZip64Directory(file, position);
    return checkDirectory(file, zip64 ?? directory);
  }
  throw file.invalid('it begins like a ZIP archive but has no central directory: it is truncated');
}

async function findZip64Directory(file: InputFile, end: number): Promise<Directory | undefined> {
  if (end < locatorSize) return undefined;
  const locator = await file.read(end - locatorSize, locatorSize);
  if (locator.readUInt32LE(0) !== locatorSignature) return undefined;
  const bytes = await file.read(Number(locator.readBigUInt64LE(8)), end64Size);
  if (bytes.readUInt32LE(0) !== end64Signature) {
    throw file.invalid("the archive's central directory is not where its locator says");
  }
  return {
    count: Number(bytes.readBigUInt64LE(32)),
    byteSize: Number(bytes.readBigUInt64LE(40)),
    offset: Number(bytes.readBigUInt64LE(48)),
  };
}

function checkDirectory(file: InputFile, directory: Directory): Directory {
  const { count, byteSize } = directory;
  if (count > maxMembers || byteSize < count * memberSize || byteSize > maxDirectoryBytes) {
    throw file.invalid(`its central directory claims ${count} members in ${byteSize} bytes`);
  }
  return directory;
}

function readMembers(file: InputFile, bytes: Buffer, count: number): Map<string, Member> {
  const members = new Map<string, Member>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const isComplete =
      at + memberSize <= bytes.length && bytes.readUInt32LE(at) === memberSignature;
    const nameStart = at + memberSize;
    const nameEnd = isComplete ? nameStart + bytes.readUInt16LE(at + 28) : 0;
    const extraEnd = isComplete ? nameEnd + bytes.readUInt16LE(at + 30) : 0;
    if (!isComplete || extraEnd > bytes.length)
      throw file.invalid('its central directory is truncated');
    const name = bytes.toString('utf8', nameStart, nameEnd);
    const zip64 = readZip64Numbers(bytes.subarray(nameEnd, extraEnd));
    const number = (offset: number) => {
      const value = bytes.readUInt32LE(at + offset);
      return value === inExtraField ? (zip64.shift() ?? value) : value;
    };
    // The extra field holds its numbers in this order.
    const byteSize = number(24);
    number(20); // the compressed size, which is the same
    const headerOffset = number(42);
    members.set(name, {
      method: bytes.readUInt16LE(at + 10),
      isEncrypted: (bytes.readUInt16LE(at + 8) & 1) !== 0,
      byteSize,
      headerOffset,
    });
    at = extraEnd + bytes.readUInt16LE(at + 32);
  }
  return members;
}

/** Reads the 64-bit numbers in a member's extra field. */
function readZip64Numbers(extra: Buffer): number[] {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== zip64Extra) continue;
    const end = Math.min(at + 4 + extra.readUInt16LE(at + 2), extra.length);
    const numbers: number[] = [];
    for (let i = at + 4; i + 8 <= end; i += 8) numbers.push(Number(extra.readBigUInt64LE(i)));
    return numbers;
  }
  return [];
}
