// Checks the documentation against the tree:
//
// - every relative link in a Markdown file leads to an existing file and heading;
// - every source file and folder that docs/architecture.md, docs/architecture.svg and docs/ggml-assertions.md name
//   exists, and so does every function and constant of ours in docs/ggml-assertions.md.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '..');
const read = (file) => readFileSync(join(root, file), 'utf8');
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)));
const complaints = [];

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(markdown) {
  const anchors = new Set();
  for (const [, heading] of withoutCode(markdown).matchAll(/^#+ (.*)$/gm)) {
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = text.replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

function withoutCode(markdown) {
  return markdown.replace(/^```[\s\S]*?^```$/gm, '');
}

function checkLinks(document) {
  const links = withoutCode(read(document)).matchAll(/\]\(([^)\s]+)\)/g);
  for (const [, link] of links) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path, anchor] = link.split('#');
    const target = path === '' ? document : relative(root, join(root, dirname(document), path));
    if (!existsSync(join(root, target))) {
      complaints.push(`${document}: ${link}: expected a file at ${target} but found none`);
    } else if (anchor !== undefined && statSync(join(root, target)).isFile()) {
      if (anchorsOf(read(target)).has(anchor)) continue;
      complaints.push(`${document}: ${link}: expected a heading for #${anchor} but found none`);
    }
  }
}

const names = new Set(files.map((file) => basename(file)));

/** Checks the names of source files and folders of ours, with the folders above them or without. */
function checkFileNames(document, text) {
  const mentions = text.matchAll(
    /(?<![\w./-])(?!ggml)(?:[\w-]+\/)*(?:[\w-]+\.(?:cc|h|ts|mts|mjs|py)\b|[\w-]+\/(?![\w.]))/g,
  );
  for (const mention of new Set([...mentions].map(([name]) => name))) {
    const isThere = mention.endsWith('/')
      ? files.some((file) => `/${file}`.includes(`/${mention}`))
      : files.some((file) => `/${file}`.endsWith(`/${mention}`));
    if (isThere) continue;
    complaints.push(`${document}: ${mention}: no such file or folder in the repository`);
  }
}

/** Checks `Class::member`, `function`, `kConstant` and the names of tests in the last column of the tables. */
function checkIdentifiers(document) {
  const sources = files
    .filter((file) => /^(lib|binding|native)\/.*\.(cc|h|ts)$/.test(file))
    .map((file) => new Set(read(file).match(/\w+/g)));
  const cells = [...read(document).matchAll(/^\|.*\|([^|]*)\|$/gm)]
    .map(([, cell]) => cell)
    .join('\n');
  for (const [, code] of cells.matchAll(/`([^`]+)`/g)) {
    if (!/^(\w+::)?\w+$/.test(code) || /^(ggml|attn)_|^GGML_/.test(code)) continue;
    if (names.has(`${code}.cc`)) continue; // a test
    const parts = code.split('::');
    if (sources.some((words) => parts.every((part) => words.has(part)))) continue;
    complaints.push(`${document}: ${code}: no such name in lib/, binding/ or native/`);
  }
}

for (const file of files) if (file.endsWith('.md')) checkLinks(file);
for (const file of ['docs/architecture.md', 'docs/architecture.svg', 'docs/ggml-assertions.md']) {
  checkFileNames(file, file.endsWith('assertions.md') ? lastColumns(read(file)) : read(file));
}
checkIdentifiers('docs/ggml-assertions.md');

/** A document without the first two columns of its tables, which name ggml's files. */
function lastColumns(markdown) {
  return markdown.replace(/^\|[^|]*\|[^|]*\|(.*)\|$/gm, '$1');
}

if (complaints.length > 0) {
  console.error(complaints.join('\n'));
  process.exitCode = 1;
}
