// npm run bench:tables: writes the tables in README.md, docs/performance.md and docs/sizes.md and the charts in
// docs/charts/ from bench/results/. With --check it writes nothing and fails if a file differs from the results.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { barChart, figure } from './chart.mjs';
import { allTypes } from './contestants.mjs';
import { shareOf } from './shares.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const checks = process.argv.includes('--check');
const { machine, limits, results } = JSON.parse(readFileSync(here('results/peers.json'), 'utf8'));
const sizes = existsSync(here('results/sizes.json'))
  ? JSON.parse(readFileSync(here('results/sizes.json'), 'utf8')).sizes
  : {};

const rowNames = [...new Set(results.map(({ row }) => row))];
const threadCounts = [...new Set(results.map(({ threads }) => threads))].sort();
const maxThreads = threadCounts.at(-1);
const types = allTypes.filter((type) => results.some((one) => one.type === type));
const peers = [...new Set(results.map(({ contestant }) => contestant))].filter(
  (name) => name !== 'gpt2-native',
);

const find = (row, type, threads, contestant) =>
  results.find(
    (one) =>
      one.row === row &&
      one.type === type &&
      one.threads === threads &&
      one.contestant === contestant,
  );

/** "340 (2.1 ×)": a peer's figure, and the factor by which this library is better. */
function comparison(ours, peer) {
  if (!peer) return '–';
  const times = ours.moreIsBetter ? ours.median / peer.median : peer.median / ours.median;
  return `${figure(peer.median)} (${times.toFixed(2)} ×)`;
}

function table(head, lines) {
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

const place = `${machine.processor}, ${machine.platform}, Node ${machine.node}`;

/** The number of rounds with this number of threads, for a heading. */
function rounds(threads) {
  const counts = results.filter((one) => one.threads === threads).map((one) => one.figures.length);
  const minRounds = Math.min(...counts);
  if (minRounds === 1) return 'one round';
  return `medians of ${minRounds}${Math.max(...counts) > minRounds ? ' rounds or more' : ' rounds'}`;
}

function readmeTable() {
  const chosen = [
    ['prompt 512', ['f32', 'f16', 'q8_0', 'q4_0']],
    ['decode after 512', ['f32', 'f16', 'q8_0', 'q4_0']],
    ['32 continuations of a prompt', ['f16', 'q8_0']],
    ['decode after 16, a core busy', ['q8_0']],
    ['start to first token', ['q8_0']],
    ['peak memory', ['q8_0']],
  ];
  const lines = chosen.flatMap(([row, ofTypes]) =>
    ofTypes.flatMap((type) => {
      const ours = find(row, type, maxThreads, 'gpt2-native');
      if (!ours) return [];
      const others = peers.map((peer) => comparison(ours, find(row, type, maxThreads, peer)));
      return [[`${row}, ${type}`, ours.unit, figure(ours.median), ...others]];
    }),
  );
  if (sizes['gpt2-native']) {
    const ours = { median: sizes['gpt2-native'], moreIsBetter: false };
    const others = peers.map((peer) => comparison(ours, sizes[peer] && { median: sizes[peer] }));
    lines.push(['installed size', 'MB', figure(ours.median), ...others]);
  }
  return `124M shape, ${place}, ${maxThreads} threads, ${rounds(maxThreads)}. In brackets: how many times better gpt2-native is.\n\n${table(['', '', 'gpt2-native', ...peers], lines)}`;
}

function wholeTables() {
  const parts = [
    `${place}. The machine's limits, the best of all rounds (reading a buffer of the size of the weights):`,
    table(
      ['weights', 'threads', 'reading, GB/s', 'f32, 10⁹ operations/s', 'int8'],
      limits.map(({ type, threads, readGBps, f32Gops, int8Gops }) => [
        type,
        threads,
        figure(readGBps),
        figure(f32Gops),
        int8Gops === null ? '–' : figure(int8Gops),
      ]),
    ),
  ];
  for (const threads of threadCounts) {
    const lines = rowNames.flatMap((row) =>
      types.flatMap((type) => {
        const ours = find(row, type, threads, 'gpt2-native');
        if (!ours) return [];
        const share = shareOf(ours, limits);
        return [
          [
            row,
            type,
            ours.unit,
            `${figure(ours.median)} (${figure(ours.min)} to ${figure(ours.max)})`,
            share ? `${Math.round(share.share * 100)} % of ${share.of}` : '',
            ...peers.map((peer) => comparison(ours, find(row, type, threads, peer))),
          ],
        ];
      }),
    );
    parts.push(
      `### ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${rounds(threads)}`,
      table(['', 'weights', '', 'gpt2-native', 'share', ...peers], lines),
    );
  }
  return parts.join('\n\n');
}

function modelsTable() {
  const {
    machine: on,
    promptLength,
    tokens,
    results: models,
  } = JSON.parse(readFileSync(here('results/models.json'), 'utf8'));
  const lines = models.map((model) => [
    model.preset,
    model.type,
    figure(model.fileMB),
    figure(model.loadMs),
    figure(model.promptTokensPerSecond),
    figure(model.tokensPerSecond),
    figure(model.peakMB),
  ]);
  const head = [
    'size',
    'weights',
    'file, MB',
    'load, ms',
    `prompt of ${promptLength}, tokens/s`,
    `${tokens} tokens after it, tokens/s`,
    'peak memory, MB',
  ];
  return `${on.processor}, ${models[0].threads} threads, one run each:\n\n${table(head, lines)}`;
}

/** Replaces the text between a pair of comments. */
function putBetweenMarks(path, mark, text) {
  const before = readFileSync(here(path), 'utf8');
  const after = before.replace(
    new RegExp(`(<!-- ${mark}:begin -->\\n)[\\s\\S]*(<!-- ${mark}:end -->)`),
    (_, begin, end) => `${begin}${text}\n${end}`,
  );
  put(path, after);
}

function put(path, text) {
  const target = here(path);
  const is = existsSync(target) ? readFileSync(target, 'utf8') : undefined;
  if (is === text) return;
  if (!checks) {
    writeFileSync(target, text);
    return;
  }
  console.error(
    `Expected ${path} to match bench/results/ but it differs; run npm run bench:tables`,
  );
  process.exitCode = 1;
}

putBetweenMarks('../README.md', 'bench', readmeTable());
putBetweenMarks('../docs/performance.md', 'bench', wholeTables());
putBetweenMarks('../docs/sizes.md', 'models', modelsTable());
if (!checks) mkdirSync(here('../docs/charts'), { recursive: true });
for (const row of rowNames) {
  const ofRow = results.filter((one) => one.row === row && one.threads === maxThreads);
  const name = row.replace(/[^a-z0-9]+/gi, '-');
  const better = ofRow[0].moreIsBetter ? 'more is better' : 'less is better';
  const title = `${row}, ${maxThreads} threads: ${ofRow[0].unit}, ${better}`;
  put(`../docs/charts/${name}.svg`, barChart(title, ofRow));
}
