import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { MessageChannel } from 'node:worker_threads';
import { serve } from '../../examples/electron/serve.mjs';

const { loadModel } = createRequire(import.meta.url)('../../dist/index.js');

/** Node's port with the interface of Electron's, whose messages are events. */
function asInElectron(port) {
  return {
    on: (event, receive) => port.on(event, (data) => receive({ data })),
    postMessage: (message) => port.postMessage(message),
    start: () => port.start(),
  };
}

/** A running engine, and the replies that it has sent. */
function startEngine(load) {
  const { port1, port2 } = new MessageChannel();
  const replies = [];
  const waiting = [];
  port2.on('message', (reply) => {
    replies.push(reply);
    for (const look of waiting) look(reply);
  });
  const next = (matches) =>
    new Promise((resolve) => waiting.push((reply) => matches(reply) && resolve(reply)));
  const ready = next(({ type }) => type === 'ready' || type === 'failed');
  void serve(asInElectron(port1), load);
  return {
    replies,
    next,
    ready,
    send: (request) => port2.postMessage(request),
    close: () => port2.close(),
  };
}

/** Runs the utility process's code over message ports of Node. Returns the replies to one prompt. */
export async function testEngine() {
  const engine = startEngine(() => loadModel(undefined, { threads: 1 }));
  assert.deepEqual(await engine.ready, {
    type: 'ready',
    parameterCount: 7457280,
    contextLength: 256,
  });

  const complete = (id, options) =>
    engine.send({
      type: 'complete',
      id,
      prompt: 'The old',
      maxTokens: 12,
      temperature: 0,
      ...options,
    });
  const ended = (id) =>
    engine.next((reply) => reply.id === id && ['end', 'failed'].includes(reply.type));

  complete(1);
  assert.equal((await ended(1)).reason, 'length');
  const parts = engine.replies.filter(({ type }) => type === 'part');
  assert.equal(parts.length, 12);
  const model = await loadModel(undefined, { threads: 1 });
  const { text } = await model.generate('The old', { maxTokens: 12, temperature: 0 });
  assert.equal(parts.map((part) => part.text).join(''), text);
  for (const { text: shown, candidates } of parts) {
    assert.equal(candidates.length, 8);
    assert.equal(candidates[0].text, shown); // greedy
    const probabilities = candidates.map(({ probability }) => probability);
    assert.deepEqual(
      probabilities,
      probabilities.toSorted((a, b) => b - a),
    );
    assert.ok(probabilities.every((probability) => probability > 0 && probability <= 1));
  }
  await model.dispose();

  complete(2, { maxTokens: 400, temperature: 1 });
  await engine.next(({ id, type }) => id === 2 && type === 'part');
  engine.send({ type: 'stop', id: 2 });
  assert.equal((await ended(2)).reason, 'stopped');

  complete(3, { prompt: 'word '.repeat(2000) });
  assert.equal((await ended(3)).code, 'CONTEXT_OVERFLOW');
  complete(4, { prompt: '' });
  assert.equal((await ended(4)).type, 'end');
  engine.close();

  const broken = startEngine(() => loadModel('/no/such/file'));
  assert.equal((await broken.ready).code, 'FILE_NOT_FOUND');
  broken.close();
  console.log('ok   the engine answers over message ports');
}
