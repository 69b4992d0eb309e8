import { createRequire } from 'node:module';
import { compete } from './task.mjs';

const require = createRequire(new URL('../peers/package.json', import.meta.url));
const { InferenceSession, Tensor } = require('onnxruntime-node');

compete(async ({ file, threads }) => {
  const session = await InferenceSession.create(file, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  const pastNames = session.inputNames.filter((name) => name.startsWith('past.'));
  const heads = 12;
  const headSize = 64;
  const empty = () => new Tensor('float32', new Float32Array(0), [1, heads, 0, headSize]);
  return {
    sequence() {
      let past = Object.fromEntries(pastNames.map((name) => [name, empty()]));
      let last = 0;
      const evaluate = async (tokens) => {
        const ids = BigInt64Array.from(tokens, BigInt);
        const input = new Tensor('int64', ids, [1, tokens.length]);
        const outputs = await session.run({ input_ids: input, ...past });
        past = Object.fromEntries(
          pastNames.map((name) => [name, outputs[name.replace('past.', 'present.')]]),
        );
        last = likeliest(outputs.logits.data);
      };
      return {
        evaluate,
        async generate(count) {
          for (let i = 0; i < count; i++) await evaluate([last]);
        },
        dispose() {},
      };
    },
    dispose: () => session.release(),
  };
});

function likeliest(logits) {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
