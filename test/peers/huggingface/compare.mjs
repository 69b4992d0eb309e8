// Compares this package's tokenizer with Hugging Face's: both must give the same ids for the same tokenizer.json.
//
//   node test/peers/huggingface/compare.mjs
//
// Hugging Face's library in Rust is used through its package `tokenizers`, which is installed into this folder on the
// first run.

import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gpt2Tokenizer, loadTokenizer } from '../../../dist/tokenizer.mjs';
import { run } from '../../../scripts/build-engine.mjs';
import { gpt2Vocabulary } from '../../../scripts/gpt2-vocabulary.mjs';
import { npm } from '../../../scripts/npm.mjs';
import { seededRandom } from '../../../scripts/random-checkpoint.mjs';
import { randomText } from '../../vocabularies/random-text.mjs';
import { german, manyScripts, russianAndGreek, sourceCode } from '../../vocabularies/texts.mjs';
import {
  vocabularies,
  writeTokenizerJson,
  writeVocabJson,
} from '../../vocabularies/vocabularies.mjs';
import { texts as knownTexts } from '../texts.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
if (!existsSync(join(here, 'node_modules'))) {
  const [program, ...first] = npm;
  run(program, ...first, 'ci', '--prefix', here, '--ignore-scripts', '--no-audit', '--no-fund');
}
const { Tokenizer, byteLevelPreTokenizer } = (await import('tokenizers')).default;
const splitter = byteLevelPreTokenizer(false, true);

const random = seededRandom(1);
const long = ['a', 'ab', ' ', '\n', 'ου', '道', '😀', 'der die das ', '\u0301'];
const all = [
  ...knownTexts,
  ...[german, russianAndGreek, manyScripts, sourceCode()],
  ...long.map((unit) => unit.repeat(3000)),
  ...Array.from({ length: 4000 }, () => randomText(random, 60)),
  ...Array.from({ length: 20 }, () => randomText(random, 6000)),
];
const newer = new Set(
  all.flatMap((text) => [...new Set(text)]).filter((one) => !isOfSameClass(one)),
);
const texts = all.map((text) => [...text].filter((one) => !newer.has(one)).join(''));
console.log(
  `${newer.size} characters are left out: they are letters or digits in one Unicode version only`,
);

let failed = 0;
const scratch = await mkdtemp(join(tmpdir(), 'gpt2-tokenizers-'));
try {
  for (const [name, vocabulary] of Object.entries(vocabularies)) {
    const theirs = Tokenizer.fromString(JSON.stringify(vocabulary.json));
    const folder = join(scratch, name);
    const ours = await loadTokenizer(writeTokenizerJson(join(folder, 'one'), vocabulary));
    await compare(`${name}, tokenizer.json`, ours, theirs);
    if (vocabulary.json.model.unk_token) continue; // only tokenizer.json has it
    const pair = await loadTokenizer(writeVocabJson(join(folder, 'two'), vocabulary));
    // Special tokens around a text are in tokenizer.json only.
    await compare(`${name}, vocab.json`, pair, theirs, [false]);
  }
  const { vocab, merges } = gpt2Vocabulary();
  const [{ json }] = Object.values(vocabularies);
  const end = { ...json.added_tokens[0], id: vocab['<|endoftext|>'] };
  const gpt2 = { ...json, added_tokens: [end], model: { ...json.model, vocab, merges } };
  await compare('GPT-2’s own', gpt2Tokenizer, Tokenizer.fromString(JSON.stringify(gpt2)));
} finally {
  await rm(scratch, { recursive: true, force: true });
}
console.log(failed === 0 ? '\nall the same' : `\n${failed} vocabularies differ`);
process.exitCode = failed === 0 ? 0 : 1;

/** Whether a character is a letter, a digit or neither for both: they may have tables of different Unicode versions. */
function isOfSameClass(character) {
  if (/[\0-\x7f\p{Surrogate}]/u.test(character)) return true;
  const words = splitter.preTokenizeString(`a${character}1`).map(([word]) => word.length);
  const bytes = Buffer.byteLength(character);
  const isLetter = words[0] === 1 + bytes;
  const isDigit = words.at(-1) === 1 + bytes;
  return isLetter === /\p{L}/u.test(character) && isDigit === /\p{N}/u.test(character);
}

async function compare(name, ours, theirs, withSpecial = [false, true]) {
  const start = performance.now();
  const different = [];
  let tokens = 0;
  for (const addSpecial of withSpecial) {
    for (const text of texts) {
      const options = { addSpecialTokens: addSpecial };
      const expected = (await theirs.encode(text, null, options)).getIds();
      // Hugging Face recognises special tokens everywhere.
      const ids = ours.encode(text, { allowedSpecial: 'all', addSpecial });
      tokens += ids.length;
      const decoded = ours.decode(ids) === (await theirs.decode(expected, false));
      if (ids.join() !== expected.join() || !decoded) different.push({ text, ids, expected });
    }
  }
  if (different.length > 0) failed++;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${different.length === 0 ? 'ok    ' : 'FAILED'}  ${name}: ${texts.length * withSpecial.length} texts, ${tokens} tokens, ${different.length} different (${seconds} s)`,
  );
  for (const { text, ids, expected } of different.slice(0, 3)) {
    console.log(
      `  ${JSON.stringify(text.slice(0, 200))}\n  ours   ${ids.slice(0, 60)}\n  theirs ${expected.slice(0, 60)}`,
    );
  }
}
