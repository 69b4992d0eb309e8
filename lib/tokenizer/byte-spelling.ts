// The spelling of bytes in the files of byte-level BPE: printable Latin-1 characters stand for themselves, all other
// bytes are mapped to the characters from U+0100 on
// (https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode).

const isPrintable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
let shifted = 0x100;
const characterOf = Array.from({ length: 256 }, (_, byte) =>
  String.fromCodePoint(isPrintable(byte) ? byte : shifted++),
);
const byteOf = new Map(characterOf.map((character, byte) => [character, byte]));

const bytes = Array.from({ length: 256 }, (_, byte) => byte);

/** The bytes in the order of GPT-2's ids: the token of `byteOrder[id]` is `id`. */
export const byteOrder = Uint8Array.from([
  ...bytes.filter(isPrintable),
  ...bytes.filter((byte) => !isPrintable(byte)),
]);

/** Spells bytes as printable characters. */
export function spellBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => characterOf[byte]).join('');
}

/** The bytes that a text spells; undefined if one of its characters spells no byte. */
export function spelledBytes(text: string): Uint8Array | undefined {
  const bytes = Array.from(text, (character) => byteOf.get(character));
  return bytes.includes(undefined) ? undefined : Uint8Array.from(bytes as number[]);
}
