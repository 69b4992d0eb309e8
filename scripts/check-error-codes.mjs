// Checks that the three lists of error codes agree: native/base/error.h, lib/errors.ts and docs/errors.md.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

// lib/ turns it into the reason of the call's signal, or into DISPOSED.
const nativeOnly = ['ABORTED'];

/** The codes that match a pattern in a part of a file, in order. */
function codesIn(file, part, code) {
  const text = readFileSync(join(root, file), 'utf8');
  const codes = [...(part.exec(text)?.[0] ?? '').matchAll(code)].map((match) => match[1]);
  if (codes.length === 0) throw new Error(`${file}: no error codes found`);
  const twice = codes.find((each, i) => codes.indexOf(each) !== i);
  if (twice) throw new Error(`${file}: ${twice} occurs twice`);
  return codes;
}

const native = codesIn('native/base/error.h', /namespace code \{.*?\n\}/s, /= "(\w+)"/g);
const library = codesIn('lib/errors.ts', /type ErrorCode =.*?;/s, /'(\w+)'/g);
const documented = codesIn('docs/errors.md', /^\| code .*?\n\n/ms, /^\| `(\w+)` \|/gm);

const complaints = [];
function compare(from, codes, to, known) {
  for (const code of codes) {
    if (!known.includes(code)) complaints.push(`${to} lacks ${code}, which ${from} has`);
  }
}
const passedOn = native.filter((code) => !nativeOnly.includes(code));
compare('native/base/error.h', passedOn, 'lib/errors.ts', library);
compare('lib/errors.ts', library, 'docs/errors.md', documented);
compare('docs/errors.md', documented, 'lib/errors.ts', library);
compare('scripts/check-error-codes.mjs', nativeOnly, 'native/base/error.h', native);
for (const code of nativeOnly) {
  if (library.includes(code)) complaints.push(`lib/errors.ts has ${code}, which is native only`);
}
if (complaints.length > 0) {
  console.error(complaints.join('\n'));
  process.exit(1);
}
