// Completes prompts and reports every token with the likeliest ones at its place. Independent of Electron.

/**
 * @typedef {import('./messages.js').Request} Request
 * @typedef {import('./messages.js').Reply} Reply
 * @typedef {import('gpt2-native').Model} Model
 */

const shownCandidates = 8;

/**
 * Loads the model and answers requests until the process ends.
 *
 * @param {import('./messages.js').Port} port
 * @param {() => Promise<Model>} load
 */
export async function serve(port, load) {
  /** @type {Map<number, AbortController>} */
  const running = new Map();
  /** @param {Reply} reply */
  const send = (reply) => port.postMessage(reply);
  /** @type {Promise<Model>} */
  const loading = load();
  port.on('message', async ({ data: request }) => {
    if (request.type === 'stop') {
      running.get(request.id)?.abort();
      return;
    }
    const { id } = request;
    const stop = new AbortController();
    running.set(id, stop);
    try {
      await complete(await loading, request, stop.signal, send);
    } catch (error) {
      send({ type: 'failed', id, ...describe(error) });
    } finally {
      running.delete(id);
    }
  });
  port.start();
  try {
    const { parameterCount, contextLength } = (await loading).config;
    send({ type: 'ready', parameterCount, contextLength });
  } catch (error) {
    send({ type: 'failed', ...describe(error) });
  }
}

/**
 * @param {Model} model
 * @param {Request & { type: 'complete' }} request
 * @param {AbortSignal} signal
 * @param {(reply: Reply) => void} send
 */
async function complete(model, request, signal, send) {
  const session = model.createSession();
  try {
    await continueText(model, session, request, signal, send);
  } finally {
    session.dispose();
  }
}

/**
 * @param {Model} model
 * @param {import('gpt2-native').Session} session
 * @param {Request & { type: 'complete' }} request
 * @param {AbortSignal} signal
 * @param {(reply: Reply) => void} send
 */
async function continueText(model, session, request, signal, send) {
  const { id, prompt, maxTokens, temperature } = request;
  const { tokenizer } = model;
  let logits = (await session.evaluate(prompt === '' ? [tokenizer.endOfText] : prompt)).data;
  const start = performance.now();
  /** @type {number[]} */
  const tokens = [];
  let shown = '';
  /** @param {'length' | 'stopped' | 'endOfText'} reason */
  const end = (reason) => {
    const seconds = (performance.now() - start) / 1000;
    send({ type: 'end', id, reason, tokensPerSecond: tokens.length / seconds });
  };
  while (tokens.length < maxTokens && session.length < model.config.contextLength) {
    if (signal.aborted) return end('stopped');
    const probabilities = softmax(logits);
    const candidates = likeliest(probabilities, shownCandidates).map((token) => ({
      text: tokenizer.decode([token]),
      probability: /** @type {number} */ (probabilities[token]),
    }));
    const token = sample(
      temperature === 0 ? probabilities : softmax(logits, temperature),
      temperature,
    );
    if (token === tokenizer.endOfText) return end('endOfText');
    tokens.push(token);
    // A character may consist of several tokens; its first ones decode to U+FFFD.
    const text = tokenizer.decode(tokens).replace(/\uFFFD$/, '');
    send({ type: 'part', id, text: text.slice(shown.length), candidates });
    shown = text;
    logits = (await session.evaluate([token])).data;
  }
  end('length');
}

/**
 * @param {Float32Array} logits
 * @returns {Float32Array}
 */
function softmax(logits, temperature = 1) {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) largest = Math.max(largest, logit);
  const probabilities = logits.map((logit) => Math.exp((logit - largest) / temperature));
  let sum = 0;
  for (const probability of probabilities) sum += probability;
  return probabilities.map((probability) => probability / sum);
}

/**
 * The indices of the largest numbers, the largest first.
 *
 * @param {Float32Array} numbers
 * @param {number} count
 */
function likeliest(numbers, count) {
  /** @type {number[]} */
  const best = [];
  const at = (/** @type {number} */ index) => /** @type {number} */ (numbers[index]);
  for (let index = 0; index < numbers.length; index++) {
    if (best.length === count && at(index) <= at(/** @type {number} */ (best[count - 1]))) continue;
    const place = best.findIndex((other) => at(index) > at(other));
    best.splice(place < 0 ? best.length : place, 0, index);
    best.length = Math.min(best.length, count);
  }
  return best;
}

/**
 * @param {Float32Array} probabilities
 * @param {number} temperature
 */
function sample(probabilities, temperature) {
  if (temperature === 0) return /** @type {number} */ (likeliest(probabilities, 1)[0]);
  let rest = Math.random();
  for (let token = 0; token < probabilities.length; token++) {
    rest -= /** @type {number} */ (probabilities[token]);
    if (rest < 0) return token;
  }
  return probabilities.length - 1;
}

/** @param {unknown} error */
function describe(error) {
  const { code = 'INTERNAL', message = String(error) } = /** @type {Error & { code?: string }} */ (
    error
  );
  return { code, message };
}
