import { createRequire } from 'node:module';
import { compete } from './task.mjs';

const require = createRequire(new URL('../peers/package.json', import.meta.url));
const { InferenceSession, Tensor } = require('onnxruntime-node');

compete(async ({ file, threads, contextLength }) => {
  const session = await InferenceSession.create(file, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  const pastNames = session.inputNames.filter((name) => name.startsWith('past.'));
  const heads = 12;
  const headSize = 64;
  /** The inputs for sequences of equal length without a past, and the first position whose logits are computed. */
  const inputs = (sequences, first) => {
    const ids = BigInt64Array.from(sequences.flat(), BigInt);
    const empty = new Tensor('float32', new Float32Array(0), [
      sequences.length,
      heads,
      0,
      headSize,
    ]);
    return {
      input_ids: new Tensor('int64', ids, [sequences.length, sequences[0].length]),
      first: new Tensor('int64', BigInt64Array.of(first), [1]),
      ...Object.fromEntries(pastNames.map((name) => [name, empty])),
    };
  };
  return {
    sequence() {
      let past = {};
      let last = 0;
      const evaluate = async (tokens) => {
        const outputs = await session.run({ ...inputs([tokens], -1n), ...past });
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
    // The library returns all logits; the log-probabilities are computed from them here.
    async score(sequences) {
      if (sequences.some((tokens) => tokens.length > contextLength)) return null;
      const results = [];
      for (const batch of batchesOf(sequences)) {
        const { logits } = await session.run(inputs(batch, 0n), ['logits']);
        const vocabSize = logits.dims[2];
        const row = (index) => logits.data.subarray(index * vocabSize, (index + 1) * vocabSize);
        for (const [which, tokens] of batch.entries()) {
          const start = which * tokens.length;
          results.push(tokens.slice(1).map((token, i) => logprob(row(start + i), token)));
        }
        logits.dispose();
      }
      return results;
    },
    dispose: () => session.release(),
  };
});

// The speed peaks there: short sequences gain from a batch, and longer ones do not.
const tokensOfBatch = 160;

/** Neighbours of equal length. */
function batchesOf(sequences) {
  const batches = [];
  for (const tokens of sequences) {
    const batch = batches.at(-1);
    const fits =
      batch?.[0].length === tokens.length && (batch.length + 1) * tokens.length <= tokensOfBatch;
    if (fits) batch.push(tokens);
    else batches.push([tokens]);
  }
  return batches;
}

function logprob(logits, token) {
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) if (logits[i] > largest) largest = logits[i];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - largest);
  return logits[token] - largest - Math.log(sum);
}

function likeliest(logits) {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
