// The spelling of bytes in the files of byte-level BPE: printable Latin-1 characters stand for themselves, all other
// bytes are mapped to the characters from U+0100 on
// (https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode).

const isPrintable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
let shifted = 0x100;
const characterOf = Array.from({ length: 256 }, (_, byte) =>
  String.fromCodePoint(isPrintable(byte) ? byte : shifted++),
);
/** By the code of a character: the byte that it spells, or -1. */
const byteOf = new Int16Array(shifted).fill(-1);
for (const [byte, character] of characterOf.entries()) byteOf[character.charCodeAt(0)] = byte;

const bytes = Array.from({ length: 256 }, (_, byte) => byte);

/** The bytes in the order of GPT-2's ids: the token of `byteOrder[id]` is `id`. */
export const byteOrder = Uint8Array.from([
  ...bytes.filter(isPrintable),
  ...bytes.filter((byte) => !isPrintable(byte)),
]);

/** By byte: its place in that order, which is GPT-2's id. */
export const placeOfByte = new Int32Array(256);
for (const [place, byte] of byteOrder.entries()) placeOfByte[byte] = place;

/** Spells bytes as printable characters. */
export function spellBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => characterOf[byte]).join('');
}

/** The bytes that a text spells; undefined if one of its characters spells no byte. */
export function spelledBytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  return writeSpelledBytes(text, bytes, 0) ? bytes : undefined;
}

/** Writes the bytes that a text spells, one for each character. Returns whether all its characters spell bytes. */
export function writeSpelledBytes(text: string, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < text.length; index++) {
    const byte = byteOf[text.charCodeAt(index)] ?? -1;
    if (byte === -1) return false;
    bytes[at + index] = byte;
  }
  return true;
}
