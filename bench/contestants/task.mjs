// Runs one task with one library in a process of its own and prints its figure as JSON. A contestant is
//
//   open({ file, type, threads, contextLength })  returns a model
//   model.sequence()                              returns an empty sequence
//   sequence.evaluate(tokens)                     appends tokens and waits for the logits of the last
//   sequence.generate(count)                      appends `count` tokens, each the likeliest
//   sequence.sample(count, sampling)              optional: appends `count` tokens, sampled with temperature 0.8, top-k 40,
//                                                 top-p 0.95, min-p 0.05 and a repetition penalty ("the usual
//                                                 samplers"), each the likeliest until three stop strings come ("stop
//                                                 strings"), or with a function of the host that sees all logits ("a
//                                                 logits processor"); resolves to null if it cannot
//   sequence.dispose(), model.dispose()
//   model.score(sequences)                        optional: computes the log-probabilities of all tokens but the first;
//                                                 resolves to null if it cannot, as for more tokens than the context has
//   model.rank(prompt, candidates)                optional: computes the log-likelihoods of continuations of a prompt
//                                                 that is evaluated once
//   model.together(prompt, sequences, count)      optional: generates concurrent continuations of one prompt
//   model.samples(prompt, samples, count)         optional: samples concurrent continuations of a prompt that is evaluated
//                                                 once, if the library can
//   model.texts(texts)                            optional: computes the last logits of texts at the same time
//   model.request(prompt, count, seed)            optional: samples a continuation; calls run at the same time, and
//                                                 each resolves to its milliseconds to the first token

const repeats = 3;

/** Token ids determined by a seed (a linear congruential generator with the constants of Numerical Recipes). */
function randomTokens(count, seed = 1) {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % 50256;
  });
}

async function time(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

const tasks = {
  async prompt(open, { tokens }) {
    const model = await open();
    const prompt = randomTokens(tokens);
    const once = async () => {
      const sequence = await model.sequence();
      const milliseconds = await time(() => sequence.evaluate(prompt));
      await sequence.dispose();
      return milliseconds;
    };
    await once();
    const times = [];
    for (let i = 0; i < repeats; i++) times.push(await once());
    return (tokens / median(times)) * 1000;
  },

  async decode(open, { after, count }) {
    const model = await open();
    const sequence = await model.sequence();
    await sequence.evaluate(randomTokens(after));
    const first = 4; // to warm up
    await sequence.generate(first);
    return ((count - first) / (await time(() => sequence.generate(count - first)))) * 1000;
  },

  async sample(open, { sampling, after, count }) {
    const model = await open();
    const sequence = await model.sequence();
    if (!sequence.sample) return null;
    await sequence.evaluate(randomTokens(after));
    const first = 4; // to warm up
    if ((await sequence.sample(first, sampling)) === null) return null;
    const milliseconds = await time(() => sequence.sample(count - first, sampling));
    return ((count - first) / milliseconds) * 1000;
  },

  async samples(open, { samples, after, count }) {
    const model = await open();
    if (!model.samples) return null;
    const prompt = randomTokens(after);
    await model.samples(prompt, 1, 2);
    const milliseconds = await time(() => model.samples(prompt, samples, count));
    return ((samples * count) / milliseconds) * 1000;
  },

  async score(open, { sequences, tokens }) {
    const model = await open();
    if (!model.score) return null;
    const all = Array.from({ length: sequences }, (_, i) => randomTokens(tokens, i + 1));
    if ((await model.score(all.slice(0, 1))) === null) return null;
    return ((sequences * tokens) / (await time(() => model.score(all)))) * 1000;
  },

  async rank(open, { candidates, after, tokens }) {
    const model = await open();
    if (!model.rank) return null;
    const all = Array.from({ length: candidates }, (_, i) => randomTokens(tokens, i + 1));
    await model.rank(randomTokens(after, 7), all.slice(0, 1));
    const times = [];
    for (let i = 0; i < repeats; i++) {
      times.push(await time(() => model.rank(randomTokens(after, i + 8), all)));
    }
    return median(times);
  },

  async together(open, { sequences, after, count }) {
    const model = await open();
    if (!model.together) return null;
    const prompt = randomTokens(after);
    await model.together(prompt, 1, 2);
    return (
      ((sequences * count) / (await time(() => model.together(prompt, sequences, count)))) * 1000
    );
  },

  async texts(open, { texts, tokens }) {
    const model = await open();
    if (!model.texts) return null;
    const all = Array.from({ length: texts }, (_, i) => randomTokens(tokens, i + 1));
    await model.texts(all.slice(0, 2));
    return ((texts * tokens) / (await time(() => model.texts(all)))) * 1000;
  },

  // 64 prompts of 20 to 26 tokens arrive at once; each is continued by 32 tokens.
  async requests(open, { figure }) {
    const model = await open();
    if (!model.request) return null;
    const [count, length] = [64, 32];
    await model.request(randomTokens(20), 2, 1);
    let firstTokens = [];
    const milliseconds = await time(async () => {
      const requests = Array.from({ length: count }, (_, i) =>
        model.request(randomTokens(20 + (i % 7), i + 1), length, i),
      );
      firstTokens = await Promise.all(requests);
    });
    if (figure === 'median') return median(firstTokens);
    if (figure === 'worst') return Math.max(...firstTokens);
    return ((count * length) / milliseconds) * 1000;
  },

  // The parent process measures the time.
  async start(open) {
    const model = await open();
    const sequence = await model.sequence();
    await sequence.evaluate(randomTokens(8));
    return 0;
  },

  async load(open) {
    return time(open);
  },

  async memory(open) {
    const model = await open();
    const sequence = await model.sequence();
    await sequence.evaluate(randomTokens(1000));
    await sequence.generate(16);
    return process.resourceUsage().maxRSS / 1000;
  },
};

/** Runs the task that the command line specifies. */
export async function compete(open) {
  const { task, options, ...model } = JSON.parse(process.argv[2]);
  const figure = await tasks[task](() => open({ contextLength: 1024, ...model }), options);
  process.stdout.write(`${JSON.stringify({ figure })}\n`, () => process.exit(0));
}
