// Random Unicode for comparisons of tokenizers.

const parts = [
  (random) => String.fromCodePoint(Math.floor(random() * 0x80)),
  (random) => String.fromCodePoint(0x80 + Math.floor(random() * 0x780)),
  (random) => String.fromCodePoint(0x800 + Math.floor(random() * 0xd000)),
  (random) => String.fromCodePoint(0xe000 + Math.floor(random() * 0x2000)),
  (random) => String.fromCodePoint(0x1_0000 + Math.floor(random() * 0x10_0000)),
  (random) => String.fromCodePoint(0x1_0000 + Math.floor(random() * 0x2_0000)),
  (random) => String.fromCharCode(0xd800 + Math.floor(random() * 0x800)),
  (random) => pick(random, ' \t\n\v\f\r\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000'),
  (random) => pick(random, 'e\u0301\u0300\u0308\u20dd\u200d\ufe0f\u200b\ufeff'),
  (random) => pick(random, ["'s", "'ll", "'T", " 're", '’s', '  ', '\n\n  ', '   x', '<unk>']),
  (random) => pick(random, ['<s>', '</s>', '<|endoftext|>', '\n    ', '=>', '[TODO]', '[TODO']),
  (random) => pick(random, 'abcdeнотаειαςαν道可常 ').repeat(1 + Math.floor(random() * 9)),
];

function pick(random, choices) {
  return choices[Math.floor(random() * choices.length)];
}

/** A text of up to `length` parts. Each text has a few kinds of parts only, so that words form. */
export function randomText(random, length) {
  const kinds = Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(random, parts));
  const count = Math.floor(random() * length);
  return Array.from({ length: count }, () => pick(random, kinds)(random)).join('');
}
