// Results as shares of the machine's limits: of f32 arithmetic for prompts, of reading for decoding.

const shape = { layers: 12, width: 768, vocabulary: 50257, context: 1024 };
const { layers, width, vocabulary, context } = shape;
const layerWeights = layers * 12 * width * width; // weights of all linear layers, without biases

/** Multiplications and additions for a prompt of `tokens` tokens: linear layers, attention, one row of the head. */
function promptOperations(tokens) {
  const attention = layers * 2 * width * ((tokens * (tokens + 1)) / 2);
  return 2 * (tokens * layerWeights + attention + width * vocabulary);
}

/** Bytes read for one more token: keys, values and the file without the position table (but with the vocabulary, 1.8 MB). */
function tokenBytes(fileBytes, type, positions) {
  const cacheNumber = type === 'f32' ? 4 : 2;
  return fileBytes - context * width * 4 + layers * 2 * width * positions * cacheNumber;
}

/** @returns `{ of: 'f32' | 'reading', share }`, or undefined for rows that neither of them limits. */
export function shareOf({ row, type, threads, median }, limits) {
  const limit = limits.find((one) => one.type === type && one.threads === threads);
  const [, task, number, more] = /^(prompt|decode after) (\d+)(.*)$/.exec(row) ?? [];
  if (!limit || !task || more) return undefined;
  if (task === 'prompt') {
    const operations = promptOperations(Number(number)) / Number(number);
    // The peak of arithmetic does not depend on the type of the weights.
    const ofThreads = limits.filter((one) => one.threads === threads);
    const peak = Math.max(...ofThreads.map((one) => one.f32Gops)) * 1e9;
    return { of: 'f32', share: (median * operations) / peak };
  }
  const decoded = 128;
  const bytes = tokenBytes(limit.bytes, type, Number(number) + decoded / 2);
  return { of: 'reading', share: (median * bytes) / (limit.readGBps * 1e9) };
}
