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
        dispose: () => context.dispose(),
      };
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
