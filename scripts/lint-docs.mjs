// Checks that what the documents name exists:
//
// - every relative link of a Markdown file leads to a file, and to a heading of it;
// - every path of this repository in code quotes exists;
// - every file and folder that docs/architecture.md and docs/architecture.svg name exists;
// - every name in code quotes in docs/ggml-assertions.md occurs in our sources or ggml's, every Class::member
//   where the class is declared or defined, and in "`file`: `name`" the name occurs in that file.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const ggml = await vendorGgml();
const read = (path) => readFileSync(join(root, path), 'utf8');
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .trim()
  .split('\n')
  .filter((file) => existsSync(join(root, file)));
const folders = new Set(files.flatMap(parentsOf));

const failures = [];
const fail = (document, what) => failures.push(`${document}: ${what}`);

function parentsOf(file) {
  const parents = [];
  for (let folder = posix.dirname(file); folder !== '.'; folder = posix.dirname(folder)) {
    parents.push(folder);
  }
  return parents;
}

/** Whether a path, or the end of one, is a file or a folder of the repository. */
function isInTree(name) {
  const path = name.replace(/\/$/, '');
  const isPath = (file) => file === path || file.endsWith(`/${path}`);
  return files.some(isPath) || [...folders].some(isPath);
}

const withoutCodeBlocks = (text) => text.replace(/^```[\s\S]*?^```/gm, '');
const codeSpans = (text) =>
  [...withoutCodeBlocks(text).matchAll(/`([^`\n]+)`/g)].map(([, span]) => span);

// ---- Links and paths of every document

/** The anchors of a Markdown file, as GitHub makes them of headings. */
function anchorsOf(text) {
  const headings = withoutCodeBlocks(text).matchAll(/^#+ +(.*)$/gm);
  return [...headings].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

for (const document of files.filter((file) => file.endsWith('.md'))) {
  const text = read(document);
  for (const [, link] of withoutCodeBlocks(text).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path, anchor] = link.split('#');
    const target = path ? posix.join(posix.dirname(document), path) : document;
    if (!existsSync(join(root, target))) fail(document, `the link ${link} leads nowhere`);
    else if (anchor && target.endsWith('.md') && !anchorsOf(read(target)).includes(anchor)) {
      fail(document, `there is no heading for the link ${link}`);
    }
  }
  for (const span of codeSpans(text)) {
    const isPath = /^(\.ci|\.github|bench|binding|docs|lib|native|scripts|test)\/[\w./-]*$/;
    if (isPath.test(span) && !isInTree(span) && !isIgnored(span)) fail(document, `no ${span}`);
  }
}

/** What is built or fetched: named in documents, but not in the repository. */
function isIgnored(path) {
  try {
    execFileSync('git', ['check-ignore', '--quiet', path], { cwd: root });
    return true;
  } catch {
    return false;
  }
}

// ---- The architecture: files and folders by name

const architecture = [
  ['docs/architecture.md', codeSpans(read('docs/architecture.md'))],
  [
    'docs/architecture.svg',
    [...read('docs/architecture.svg').matchAll(/>([^<]+)</g)].map(([, text]) => text),
  ],
];
const fileName = /(?:[\w-]+\/)*[\w-]+\.(?:cc|h|ts|mts|mjs|md|txt)\b|(?:[\w-]+\/)+(?=\s|$)/g;
for (const [document, texts] of architecture) {
  const names = texts.flatMap((text) => text.match(fileName) ?? []);
  if (names.length < 10) fail(document, `expected file names but found ${names.length}`);
  for (const name of names) if (!isInTree(name)) fail(document, `no ${name}`);
}

// ---- ggml's assertions: every name

const assertions = 'docs/ggml-assertions.md';
// Names of the system and of shells, and letters that stand for something.
const outside = new Set(['exec', 'fork', 'overcommit_memory', 'pids', 'ulimit', 'v', 'vm', 'X']);

function filesUnder(folder) {
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}
const ours = files
  .filter((file) => /^(native|binding|lib|test|scripts)\/.*\.(cc|h|ts|mts|mjs|txt)$/.test(file))
  .map((file) => join(root, file));
const theirs = ['src', 'include']
  .flatMap((folder) => filesUnder(join(ggml, folder)))
  .filter((path) => /\.(c|cpp|h)$/.test(path));
const sources = [...ours, ...theirs].map((path) => ({ path, text: readFileSync(path, 'utf8') }));
const wordsOf = (text) => text.match(/[A-Za-z_]\w*/g) ?? [];
const words = new Set(sources.flatMap(({ text }) => wordsOf(text)));

function isMember(type, member) {
  const defined = new RegExp(`\\b${type}::${member}\\b`);
  const declared = new RegExp(`\\b(class|struct) ${type}\\b[\\s\\S]*\\b${member}\\b`);
  return sources.some(({ text }) => defined.test(text) || declared.test(text));
}

/** @returns the source files that a span names, if it names any */
function sourceFiles(span) {
  if (!/^[\w./-]+\.(c|cpp|cc|h|ts|txt)$/.test(span)) return undefined;
  return sources.filter(({ path }) => path.split('\\').join('/').endsWith(`/${span}`));
}

const text = read(assertions);
for (const span of codeSpans(text)) {
  const named = sourceFiles(span);
  if (named) {
    if (named.length === 0) fail(assertions, `no file ${span}`);
    continue;
  }
  if (/^\w+\*[\w*]*$/.test(span)) {
    const pattern = new RegExp(`^${span.replaceAll('*', '\\w*')}$`);
    if (![...words].some((word) => pattern.test(word))) {
      fail(assertions, `nothing is called ${span}`);
    }
    continue;
  }
  if (span.startsWith('grep ')) continue;
  for (const word of wordsOf(span)) {
    if (!words.has(word) && !outside.has(word)) fail(assertions, `nothing is called ${word}`);
  }
  for (const [, type, member] of span.matchAll(/\b([A-Z]\w*)::(\w+)/g)) {
    if (!isMember(type, member)) fail(assertions, `${type} has no ${member}`);
  }
}
for (const [, file, name] of text.matchAll(/`([\w./-]+\.\w+)`: `([\w:]+)`/g)) {
  // A class may be declared in the header of the file.
  const related = [file, file.replace(/\.cc$/, '.h')].flatMap(sourceFiles);
  const last = name.split('::').at(-1);
  if (!related.some(({ text }) => wordsOf(text).includes(last))) {
    fail(assertions, `there is no ${name} in ${file}`);
  }
}

for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;
