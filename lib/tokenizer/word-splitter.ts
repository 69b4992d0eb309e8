// Splits text into words as GPT-2's pattern does (https://github.com/openai/gpt-2/blob/master/src/encoder.py):
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// \s is the Unicode property White_Space, which is its meaning in Python's regex module. JavaScript's \s includes U+FEFF
// and omits U+0085, which would split such texts differently. A regular expression matches a word as a whole, however
// long it is. These functions stop at a limit, so that long texts can be split in steps.

/** The classes of characters of which a word is a run. Lone surrogates are symbols. */
const letter = 1;
const digit = 2;
const whiteSpace = 3;
const symbol = 4;

// By code point; 0 for those that have not occurred yet.
const classes = new Uint8Array(0x11_0000);

function classify(codePoint: number): number {
  const character = String.fromCodePoint(codePoint);
  let found = symbol;
  if (/\p{L}/u.test(character)) found = letter;
  else if (/\p{N}/u.test(character)) found = digit;
  else if (/\p{White_Space}/u.test(character)) found = whiteSpace;
  classes[codePoint] = found;
  return found;
}

function classAt(text: string, at: number): number {
  const codePoint = text.codePointAt(at) as number;
  return classes[codePoint] || classify(codePoint);
}

const space = 0x20;
const apostrophe = 0x27;

/** The length of 's, 't, 're, 've, 'm, 'll or 'd at a position; 0 if none of them is there. */
function contractionLength(text: string, at: number): number {
  if (text.charCodeAt(at) !== apostrophe) return 0;
  switch (text[at + 1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return text[at + 2] === 'e' ? 3 : 0;
    case 'l':
      return text[at + 2] === 'l' ? 3 : 0;
    default:
      return 0;
  }
}

/** The position after the space that a word of letters, digits or symbols may begin with. */
function runStart(text: string, at: number): number {
  if (text.charCodeAt(at) !== space || at + 1 === text.length) return at;
  return classAt(text, at + 1) === whiteSpace ? at : at + 1;
}

/** The end of the run of one class from `at`. May exceed the limit by the second half of a surrogate pair. */
function runEnd(text: string, at: number, limit: number, runClass: number): number {
  let end = at;
  while (end < limit) {
    const codePoint = text.codePointAt(end) as number;
    if ((classes[codePoint] || classify(codePoint)) !== runClass) break;
    end += codePoint > 0xffff ? 2 : 1;
  }
  return end;
}

/** The end of the word at a position; -1 if the word has more than `maxLength` characters. */
export function wordEnd(text: string, at: number, maxLength: number): number {
  const contraction = contractionLength(text, at);
  if (contraction > 0) return at + contraction;
  const start = runStart(text, at);
  const runClass = classAt(text, start);
  const limit = Math.min(at + maxLength, text.length);
  const end = runEnd(text, start, limit, runClass);
  if (end === text.length) return end;
  if (end >= limit) return -1;
  // White space leaves its last character to the next word.
  return runClass === whiteSpace && end - at > 1 ? end - 1 : end;
}

/** Yields the ends of the parts of a long word, each about `partLength` characters after the one before. */
export function* longWordParts(text: string, at: number, partLength: number): Generator<number> {
  let end = runStart(text, at);
  const runClass = classAt(text, end);
  const shared = runClass === whiteSpace ? 1 : 0;
  while (true) {
    const limit = Math.min(end + partLength, text.length);
    end = runEnd(text, end, limit, runClass);
    if (end === text.length) {
      yield end;
      return;
    }
    yield end - shared;
    if (end < limit) return;
  }
}
