// npm run bench [-- --rows <regular expression> --types f32,q8_0 --threads 1,2 --rounds 5]
// npm run bench:peers: the same with node-llama-cpp and onnxruntime-node
// --llama-bench <program> adds llama.cpp's own benchmark
// --continue adds rounds to the existing results
//
// Measures every row with every contestant, type and number of threads, each in a fresh process. All of them
// take turns for several rounds, because the speed of a machine varies over time. Prints medians with their
// spread and writes them to bench/results/.

import { spawn } from 'node:child_process';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { allTypes, contestants, installPeers } from './contestants.mjs';
import { measureWithLlamaBench } from './llama-bench.mjs';
import { buildLimits, describeMachine, measureLimits } from './machine.mjs';
import { compare, isSameRun, printReport, summarize } from './report.mjs';
import { rows as allRows } from './rows.mjs';

const { values } = parseArgs({
  options: {
    peers: { type: 'boolean', default: false },
    rows: { type: 'string', default: '' },
    types: { type: 'string', default: allTypes.join(',') },
    threads: { type: 'string', default: '1,2' },
    rounds: { type: 'string', default: '5' },
    'llama-bench': { type: 'string' },
    continue: { type: 'boolean', default: false },
  },
});
const rows = allRows.filter(({ name }) => new RegExp(values.rows).test(name));
const types = values.types.split(',');
const threadCounts = values.threads.split(',').map(Number);
const names = values.peers ? Object.keys(contestants) : ['gpt2-native'];
const llamaBench = values['llama-bench'];
if (llamaBench) {
  contestants['llama.cpp'] = contestants['node-llama-cpp']; // the same types and files
  names.push('llama.cpp');
}
if (values.peers) installPeers();
await buildLimits();

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const target = here(`results/${values.peers ? 'peers' : 'latest'}.json`);
const machine = describeMachine();
const earlier = values.continue
  ? JSON.parse(await readFile(target, 'utf8'))
  : { machine, limits: [], results: [] };
for (const what of ['processor', 'node', 'source']) {
  if (earlier.machine[what] === machine[what]) continue;
  throw new Error(
    `Expected ${target} to have the ${what} ${machine[what]} but it has ${earlier.machine[what]}`,
  );
}

const runs = [];
const sizes = new Map(); // bytes of the weights that this library reads, by type
for (const type of types) {
  for (const contestant of names.filter((name) => contestants[name].types.includes(type))) {
    const file = await contestants[contestant].file(type);
    if (contestant === 'gpt2-native') sizes.set(type, (await stat(file)).size);
    for (const threads of threadCounts) {
      for (const row of rows) {
        const run = { row: row.name, contestant, type, threads };
        const before = earlier.results.find((result) => isSameRun(result, run));
        runs.push({ ...run, task: row, file, figures: before?.figures ?? [] });
      }
    }
  }
}
// All contestants of a row run in succession.
const key = ({ task, type, threads }) => [types.indexOf(type), threads, rows.indexOf(task)];
runs.sort((a, b) => compare(key(a), key(b)));

const { limits } = earlier;
await mkdir(here('results'), { recursive: true });
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const [type, size] of sizes) {
    for (const threads of threadCounts) {
      limits.push({ type, threads, bytes: size, ...measureLimits(size, threads) });
    }
  }
  for (const { row, task, contestant, type, threads, file, figures } of runs) {
    const figure = await measure(contestant, task, { file, type, threads });
    if (figure !== null) figures.push(figure);
    const shown = figure === null ? 'not supported' : `${figure.toPrecision(4)} ${task.unit}`;
    process.stderr.write(
      `${round}: ${row}, ${type}, ${threads} threads, ${contestant}: ${shown}\n`,
    );
  }
  // Written after every round, because all rounds together take hours.
  const report = { machine, ...summarize(runs, limits, earlier.results) };
  await writeFile(`${target}.tmp`, `${JSON.stringify(report, null, 2)}\n`);
  await rename(`${target}.tmp`, target);
  if (round === Number(values.rounds)) printReport(report);
}

/** The figure of one row; null if the contestant does not support the task. */
async function measure(contestant, row, model) {
  if (contestant === 'llama.cpp') return measureWithLlamaBench(llamaBench, row, model);
  const busy = row.busy && spawn(process.execPath, ['-e', 'for (;;);']);
  try {
    const { task, options = {} } = row;
    const start = performance.now();
    const program = here(`contestants/${contestant}.mjs`);
    const { line, at } = await firstLine(program, { task, options, ...model });
    return task === 'start' ? at - start : JSON.parse(line).figure;
  } finally {
    if (busy) busy.kill();
  }
}

/** Runs a program to its end and resolves to its first line of output and the time of that line. */
function firstLine(program, task) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let line = '';
    let at;
    child.stdout.setEncoding('utf8').on('data', (part) => {
      line += part;
      if (line.includes('\n')) at ??= performance.now();
    });
    child.on('error', reject);
    child.on('close', (exitCode, signal) => {
      if (exitCode === 0 && at !== undefined) resolve({ line, at });
      else reject(new Error(`${program} ended with ${signal ?? exitCode}`));
    });
  });
}
