import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compete } from './task.mjs';

const require = createRequire(new URL('../peers/package.json', import.meta.url));
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(require.resolve('node-llama-cpp')));

// Short sequences are scored faster several at a time, up to so many tokens; longer ones are not.
const tokensAtOnce = 160;

compete(async ({ file, threads, contextLength }) => {
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    logLevel: LlamaLogLevel.error,
    maxThreads: threads,
  });
  const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  const newContext = (sequences, contextSize = contextLength) =>
    model.createContext({
      contextSize,
      batchSize: 512,
      threads,
      sequences,
      flashAttention: false,
    });
  const generate = async (sequence, tokens, count) => {
    let made = 0;
    for await (const _ of sequence.evaluate(tokens, { temperature: 0 })) {
      if (++made === count) break;
    }
  };
  return {
    async sequence() {
      const context = await newContext(1);
      const sequence = context.getSequence();
      let last;
      return {
        async evaluate(tokens) {
          const outputs = await sequence.controlledEvaluate(
            tokens.map((token, index) =>
              index === tokens.length - 1 ? [token, { generateNext: { token: true } }] : token,
            ),
          );
          last = outputs.at(-1).next.token;
        },
        generate: (count) => generate(sequence, [last], count),
        async sample(count, sampling) {
          if (sampling !== 'the usual samplers') return null;
          const tokens = [last];
          const options = {
            ...{ temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05, seed: 1 },
            repeatPenalty: { penalty: 1.1, punishTokens: () => tokens.slice(-64) },
          };
          for await (const token of sequence.evaluate([last], options)) {
            tokens.push(token);
            if (tokens.length > count) break;
          }
        },
        dispose: () => context.dispose(),
      };
    },
    async samples(prompt, samples, count) {
      const context = await newContext(samples);
      const draw = async (sequence, seed) => {
        let made = 0;
        for await (const _ of sequence.evaluate(prompt, { temperature: 1, seed })) {
          if (++made === count) break;
        }
      };
      await Promise.all(
        Array.from({ length: samples }, (_, seed) => draw(context.getSequence(), seed)),
      );
      await context.dispose();
    },
    async together(prompt, sequences, count) {
      const context = await newContext(sequences);
      await Promise.all(
        Array.from({ length: sequences }, () => generate(context.getSequence(), prompt, count)),
      );
      await context.dispose();
    },
    async score(texts) {
      const longest = Math.max(...texts.map((tokens) => tokens.length));
      if (longest > contextLength) return null;
      const count = Math.min(texts.length, Math.max(1, Math.floor(tokensAtOnce / longest)));
      const context = await newContext(count, longest);
      const sequences = Array.from({ length: count }, () => context.getSequence());
      const scores = await inTurns(sequences, texts, async (sequence, tokens) => {
        await sequence.clearHistory();
        return logprobs(sequence, tokens);
      });
      await context.dispose();
      return scores;
    },
    // The prompt is evaluated in one sequence. A file is the only way to copy it to others. With more than 10 of them, the
    // context and the copies take longer than larger batches save.
    async rank(prompt, candidates) {
      const count = Math.min(candidates.length, 10);
      const longest = Math.max(...candidates.map((tokens) => tokens.length));
      const context = await newContext(count, prompt.length + longest);
      const sequences = Array.from({ length: count }, () => context.getSequence());
      const start = prompt.slice(0, -1);
      await sequences[0].evaluateWithoutGeneratingNewTokens(start);
      const folder = await mkdtemp(join(tmpdir(), 'node-llama-cpp-'));
      const state = join(folder, 'state');
      await sequences[0].saveStateToFile(state);
      for (const other of sequences.slice(1)) {
        await other.loadStateFromFile(state, { acceptRisk: true });
      }
      await rm(folder, { recursive: true });
      const sums = await inTurns(sequences, candidates, async (sequence, tokens) => {
        const scores = await logprobs(sequence, [prompt.at(-1), ...tokens]);
        const end = sequence.nextTokenIndex;
        await sequence.eraseContextTokenRanges([{ start: start.length, end }]);
        return scores.reduce((sum, logprob) => sum + logprob, 0);
      });
      await context.dispose();
      return sums;
    },
    dispose: () => model.dispose(),
  };
});

/**
 * The log-probabilities of all tokens but the first. Of the ways to get them, this one needs neither sorted nor copied
 * logits. The selected token is the likeliest; `includeMax` leaves it out (node-llama-cpp 3.22).
 */
async function logprobs(sequence, tokens) {
  const targets = tokens.slice(1);
  const outputs = await sequence.controlledEvaluate(
    targets.map((target, index) => {
      const logits = { filter: { tokens: [target], includeSelected: true } };
      return [tokens[index], { generateNext: { logits, totalLogitWeight: true } }];
    }),
  );
  return outputs.map(({ next: { logits, totalLogitWeight } }, index) => {
    const largest = Math.max(...logits.values());
    return logits.get(targets[index]) - largest - Math.log(totalLogitWeight);
  });
}

/** Maps items by a function that each sequence runs for one item at a time. */
async function inTurns(sequences, items, map) {
  const results = [];
  const left = items.entries();
  await Promise.all(
    sequences.map(async (sequence) => {
      for (const [index, item] of left) results[index] = await map(sequence, item);
    }),
  );
  return results;
}
