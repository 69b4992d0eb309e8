// @ts-check
// The page: sends prompts to the engine, and shows every token with the candidates at its place.

/** @typedef {import('./messages.js').Candidate} Candidate */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 */
const element = (id) => /** @type {T} */ (document.getElementById(id));
/** @type {HTMLFormElement} */
const form = element('form');
/** @type {HTMLTextAreaElement} */
const prompt = element('prompt');
/** @type {HTMLInputElement} */
const maxTokens = element('max-tokens');
/** @type {HTMLInputElement} */
const temperature = element('temperature');
/** @type {HTMLButtonElement} */
const start = element('start');
/** @type {HTMLButtonElement} */
const stop = element('stop');
const text = element('text');
const status = element('status');

let id = 0;
/** @type {Map<Element, Candidate[]>} */
const candidatesOf = new Map();

/** @param {boolean} isRunning */
function setRunning(isRunning) {
  start.disabled = isRunning;
  stop.disabled = !isRunning;
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  candidatesOf.clear();
  text.replaceChildren(prompt.value);
  showCandidates([], 'Next token');
  status.textContent = 'Working …';
  setRunning(true);
  window.engine.send({
    type: 'complete',
    id: ++id,
    prompt: prompt.value,
    maxTokens: maxTokens.valueAsNumber || 1,
    temperature: temperature.valueAsNumber || 0,
  });
});

stop.addEventListener('click', () => window.engine.send({ type: 'stop', id }));

window.engine.onReply((reply) => {
  if ('id' in reply && reply.id !== undefined && reply.id !== id) return; // of an earlier prompt
  switch (reply.type) {
    case 'ready': {
      const millions = (reply.parameterCount / 1e6).toFixed(1);
      status.textContent = `${millions} million parameters, ${reply.contextLength} tokens of context`;
      setRunning(false);
      break;
    }
    case 'part': {
      const token = document.createElement('span');
      token.textContent = reply.text;
      candidatesOf.set(token, reply.candidates);
      text.append(token);
      show(token);
      break;
    }
    case 'end': {
      const reasons = { length: 'the length', stopped: 'Stop', endOfText: 'the end of the text' };
      status.textContent = `Ended by ${reasons[reply.reason]}, ${reply.tokensPerSecond.toFixed(0)} tokens/s`;
      setRunning(false);
      break;
    }
    case 'failed':
      status.textContent = `${reply.message} [${reply.code}]`;
      setRunning(false);
      break;
  }
});

text.addEventListener('pointerover', ({ target }) => {
  if (target instanceof HTMLSpanElement) show(target);
});

text.addEventListener('keydown', ({ key }) => {
  const shown = text.querySelector('.shown');
  const next = key === 'ArrowLeft' ? shown?.previousElementSibling : shown?.nextElementSibling;
  if (key.startsWith('Arrow') && next instanceof HTMLSpanElement) show(next);
});

/** A token with visible spaces and line breaks. */
const visible = (/** @type {string} */ token) =>
  JSON.stringify(token).slice(1, -1).replaceAll(' ', '␣');

/** @param {HTMLSpanElement} token */
function show(token) {
  const candidates = candidatesOf.get(token);
  if (!candidates) return;
  for (const other of text.querySelectorAll('.shown')) other.classList.remove('shown');
  token.classList.add('shown');
  showCandidates(candidates, `In place of ${visible(token.textContent ?? '')}`);
}

/**
 * @param {readonly Candidate[]} candidates
 * @param {string} heading
 */
function showCandidates(candidates, heading) {
  element('heading').textContent = heading;
  element('candidates').replaceChildren(
    ...candidates.map((candidate) => {
      const token = document.createElement('span');
      token.className = 'token';
      token.textContent = visible(candidate.text);
      const probability = document.createElement('span');
      probability.className = 'probability';
      probability.textContent = `${(candidate.probability * 100).toFixed(1)} %`;
      const meter = document.createElement('meter');
      meter.value = candidate.probability;
      const item = document.createElement('li');
      item.append(token, probability, meter);
      return item;
    }),
  );
}
