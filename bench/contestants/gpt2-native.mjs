import { createRequire } from 'node:module';
import { compete } from './task.mjs';

const { loadModel } = createRequire(import.meta.url)('../../dist/index.js');

compete(async ({ file, threads, contextLength }) => {
  // The tasks repeat prompts, which are to be evaluated every time.
  const model = await loadModel(file, { threads, contextLength, prefixCache: false });
  return {
    sequence() {
      const session = model.createSession();
      return {
        evaluate: (tokens) => session.evaluate(tokens),
        generate: (count) => session.generate([], { maxTokens: count, temperature: 0 }),
        sample: (count, sampling) =>
          session.generate([], { maxTokens: count, seed: 1, ...samplingOptions[sampling] }),
        dispose: () => session.dispose(),
      };
    },
    samples: (prompt, n, count) => model.generate(prompt, { n, maxTokens: count, seed: 1 }),
    score: (sequences) => model.score(sequences, { startFromEndOfText: false }),
    rank: (prompt, candidates) => model.rank(prompt, candidates),
    async together(prompt, sequences, count) {
      const first = model.createSession();
      await first.evaluate(prompt);
      await Promise.all(
        Array.from({ length: sequences }, async (_, seed) => {
          const session = first.fork();
          await session.generate([], { maxTokens: count, temperature: 1, seed });
          session.dispose();
        }),
      );
      first.dispose();
    },
    texts: (texts) => Promise.all(texts.map((tokens) => model.logits(tokens))),
    async request(prompt, count, seed) {
      const { timings } = await model.generate(prompt, { maxTokens: count, temperature: 1, seed });
      return timings.firstTokenMs;
    },
    dispose: () => model.dispose(),
  };
});

const samplingOptions = {
  'the usual samplers': {
    ...{
      temperature: 0.8,
      topK: 40,
      topP: 0.95,
      minP: 0.05,
      repetitionPenalty: 1.1,
      penaltyWindow: 64,
    },
  },
  'stop strings': { temperature: 0, stop: ['\n\nThe end', 'User:', '</s>'] },
  'a logits processor': { temperature: 0, logitsProcessor: () => {} },
};
