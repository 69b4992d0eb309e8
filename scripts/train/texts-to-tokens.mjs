// Writes a folder of .txt files as GPT-2's token ids, little-endian in two bytes each. Every text ends with
// <|endoftext|>.
//
// Plain-text books have lines of about 70 characters, curly quotation marks and long dashes. Here a paragraph
// is one line, and marks are plain ASCII, so that a small model does not have to learn each variant.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { Gpt2Tokenizer } = createRequire(import.meta.url)('../../dist/tokenizer/tokenizer.js');

export async function textsToTokens(folder, output) {
  const tokenizer = new Gpt2Tokenizer();
  const tokens = [];
  const names = readdirSync(folder).filter((name) => name.endsWith('.txt'));
  if (names.length === 0) throw new Error(`${folder}: expected .txt files but found none`);
  for (const name of names.sort()) {
    const text = unwrapped(readFileSync(join(folder, name), 'utf8'));
    for (const token of tokenizer.encode(text)) tokens.push(token);
    tokens.push(tokenizer.endOfText);
  }
  const bytes = Buffer.alloc(2 * tokens.length);
  for (const [index, token] of tokens.entries()) bytes.writeUInt16LE(token, 2 * index);
  writeFileSync(output, bytes);
}

/** Joins the lines of each paragraph, with an empty line between paragraphs. */
export function unwrapped(text) {
  const paragraphs = withPlainMarks(text)
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replace(/\s+/g, ' ').trim())
    .filter((paragraph) => /\p{L}/u.test(paragraph)); // drops rows of asterisks and page numbers
  return `${paragraphs.join('\n\n')}\n`;
}

function withPlainMarks(text) {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[“”„]/g, '"')
    .replace(/[‘’‚]/g, "'")
    .replace(/[—―]|---?/g, ' - ')
    .replace(/–/g, '-')
    .replace(/…/g, '...')
    .replace(/_/g, ''); // marks italics
}
