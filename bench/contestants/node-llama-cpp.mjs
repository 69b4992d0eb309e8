import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { compete } from './task.mjs';

const require = createRequire(new URL('../peers/package.json', import.meta.url));
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(require.resolve('node-llama-cpp')));

compete(async ({ file, threads, contextLength }) => {
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    logLevel: LlamaLogLevel.error,
    maxThreads: threads,
  });
  const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  const newContext = (sequences) =>
    model.createContext({
      contextSize: contextLength,
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
    dispose: () => model.dispose(),
  };
});
