// The rows of the benchmark: tasks for a contestant's process, run with each type of weights and number of threads.

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} task the name of a task in contestants/task.mjs
 * @property {object} [options] the options of the task
 * @property {string} unit
 * @property {boolean} moreIsBetter
 * @property {boolean} [busy] whether another process keeps one core busy during the task
 */

const speed = { unit: 'tokens/s', moreIsBetter: true };

/** @type {Row[]} */
export const rows = [
  ...[32, 128, 512, 1000].map((tokens) => ({
    name: `prompt ${tokens}`,
    task: 'prompt',
    options: { tokens },
    ...speed,
  })),
  ...[16, 512, 896].map((after) => ({
    name: `decode after ${after}`,
    task: 'decode',
    options: { after, count: 128 },
    ...speed,
  })),
  {
    name: 'decode after 16, a core busy',
    task: 'decode',
    options: { after: 16, count: 128 },
    busy: true,
    ...speed,
  },
  ...[
    ['64 × 100 tokens', 64, 100],
    ['10,000 tokens, stride 512', 1, 10_000],
    ['1,000 × 20 tokens', 1000, 20],
  ].map(([name, sequences, tokens]) => ({
    name: `scoring ${name}`,
    task: 'score',
    options: { sequences, tokens },
    ...speed,
  })),
  {
    name: 'ranking 100 candidates',
    task: 'rank',
    options: { candidates: 100, after: 200, tokens: 5 },
    unit: 'ms',
    moreIsBetter: false,
  },
  ...[1, 32].map((sequences) => ({
    name: `${sequences} ${sequences === 1 ? 'continuation' : 'continuations'} of a prompt`,
    task: 'together',
    options: { sequences, after: 32, count: 64 },
    ...speed,
  })),
  ...['the usual samplers', 'stop strings', 'a logits processor'].map((sampling) => ({
    name: `decode with ${sampling}`,
    task: 'sample',
    options: { sampling, after: 16, count: 128 },
    ...speed,
  })),
  {
    name: '64 samples of a prompt',
    task: 'samples',
    options: { samples: 64, after: 200, count: 32 },
    ...speed,
  },
  {
    name: '128 texts of 12 tokens',
    task: 'texts',
    options: { texts: 128, tokens: 12 },
    ...speed,
  },
  { name: '64 requests in flight', task: 'requests', options: { figure: 'rate' }, ...speed },
  ...['median', 'worst'].map((figure) => ({
    name: `64 requests in flight, ${figure} first token`,
    task: 'requests',
    options: { figure },
    unit: 'ms',
    moreIsBetter: false,
  })),
  { name: 'start to first token', task: 'start', unit: 'ms', moreIsBetter: false },
  { name: 'load', task: 'load', unit: 'ms', moreIsBetter: false },
  { name: 'peak memory', task: 'memory', unit: 'MB', moreIsBetter: false },
];
