// npm run bench:models [-- --presets 124M,1558M --types q8_0]: the time and memory to load and run each published
// size of GPT-2 with random weights, each in a fresh process. Writes bench/results/models.json.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { allTypes } from './contestants.mjs';
import { describeMachine } from './machine.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const require = createRequire(import.meta.url);
const { checkGpt2Config, presetNames } = require('../dist/gpt2-config.js');
const { writeUntrained } = require('../dist/create-model.js');

const promptLength = 512;
const tokens = 16;

const { values } = parseArgs({
  options: {
    presets: { type: 'string', default: presetNames.join(',') },
    types: { type: 'string', default: allTypes.join(',') },
    threads: { type: 'string', default: '2' },
  },
});
const threads = Number(values.threads);

// One process loads the model, evaluates a prompt, generates tokens and reports its peak memory.
const script = `
  const { loadModel } = require(${JSON.stringify(here('../dist/index.js'))});
  const time = async (work) => {
    const start = performance.now();
    const result = await work();
    return [performance.now() - start, result];
  };
  (async () => {
    const options = { threads: ${threads} };
    const [loadMs, model] = await time(() => loadModel(process.argv[1], options));
    const session = model.createSession();
    const prompt = Array.from({ length: ${promptLength} }, (_, i) => (i * 7919 + 464) % 50257);
    const [promptMs] = await time(() => session.evaluate(prompt));
    const [tokensMs] = await time(() => session.generate([], { maxTokens: ${tokens}, temperature: 0 }));
    const { parameterCount } = model.config;
    console.log(JSON.stringify({
      parameterCount,
      loadMs,
      promptTokensPerSecond: ${promptLength} / promptMs * 1000,
      tokensPerSecond: ${tokens} / tokensMs * 1000,
      peakMB: process.resourceUsage().maxRSS / 1000,
    }));
  })();`;

mkdirSync(here('weights'), { recursive: true });
const folder = mkdtempSync(join(here('weights'), 'models-'));
const results = [];
try {
  for (const preset of values.presets.split(',')) {
    for (const type of values.types.split(',')) {
      const path = join(folder, `${preset}-${type}.gguf`);
      const config = checkGpt2Config(preset);
      await writeUntrained(path, { config, seed: 1, type }, {});
      const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script, path], {
        encoding: 'utf8',
      });
      if (status !== 0) throw new Error(`${preset} in ${type} ended with ${status}: ${stderr}`);
      const fileMB = statSync(path).size / 1e6;
      rmSync(path);
      results.push({ preset, type, threads, fileMB, ...JSON.parse(stdout) });
      console.log(results.at(-1));
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const target = here('results/models.json');
const machine = describeMachine();
writeFileSync(target, `${JSON.stringify({ machine, promptLength, tokens, results }, null, 2)}\n`);
