// Data sets were divided into words for models that knew words only: "do n't", "( 1990 – 91 )", "4 @,@ 000". A detokenizer
// writes a line as people do. The paper calls its own invertible, worth 2.5 to 5 in perplexity, and did not publish them; these
// remove the same kinds of traces.

export const detokenizers = { wikitext, pennTreebank, quoted } as const;

export type DetokenizerName = keyof typeof detokenizers;

/** Which of its neighbours a word touches. */
type Touches = 'none' | 'left' | 'right' | 'both';

interface Part {
  text: string;
  touches: Touches;
}

/** A word among its neighbours, which are empty at the ends. */
type PartOf = (word: string, previous: string, next: string) => Part;

function join(line: string, partOf: PartOf): string {
  const words = line.match(/\S+/g) ?? [];
  let text = '';
  let touchesNext = true;
  for (const [i, word] of words.entries()) {
    const part = partOf(word, words[i - 1] ?? '', words[i + 1] ?? '');
    const touchesLast = part.touches === 'left' || part.touches === 'both';
    text += `${touchesNext || touchesLast ? '' : ' '}${part.text}`;
    touchesNext = part.touches === 'right' || part.touches === 'both';
  }
  return text;
}

/** WikiText: words of Moses, with marks for hyphens and separators within them. */
function wikitext(line: string): string {
  const punctuation = new Punctuation();
  let isQuoted = false; // by "'"
  const text = join(line, (word, previous, next) => {
    const [, mark] = /^@([-,.])@$/.exec(word) ?? [];
    if (mark !== undefined) return { text: mark, touches: 'both' };
    if (word === '–' || word === ':' || word === '/') {
      if (isBetween(word, previous, next)) return { text: word, touches: 'both' };
    }
    if (word === "'") {
      const isApostrophe = !isQuoted && (/s$/i.test(previous) || /^\d/.test(next));
      if (!isApostrophe) isQuoted = !isQuoted;
      const opens = isApostrophe ? /^\d/.test(next) : isQuoted;
      return { text: word, touches: opens ? 'right' : 'left' };
    }
    if (/^'\p{L}/u.test(word) && /^o$/i.test(previous)) return { text: word, touches: 'left' };
    return punctuation.partOf(word, next);
  });
  return withHeading(text);
}

/** A range, a time, and units or alternatives, which Wikipedia writes without spaces. */
function isBetween(word: string, previous: string, next: string): boolean {
  if (word === '/') return previous !== '' && next !== '';
  return /\d$/.test(previous) && (word === ':' ? /^\d\d\b/ : /^\d/).test(next);
}

/** " = = Title = = " is "== Title ==" in Wikipedia. */
function withHeading(text: string): string {
  const words = text.split(' ');
  const first = words.findIndex((word) => word !== '=');
  const last = words.findLastIndex((word) => word !== '=');
  if (first < 1 || last === words.length - 1) return text;
  const marks = (count: number) => '='.repeat(count);
  const title = words.slice(first, last + 1).join(' ');
  return `${marks(first)} ${title} ${marks(words.length - 1 - last)}`;
}

/** Penn Treebank as Mikolov et al. (2010) prepared it: lower case, no punctuation, "N" for numbers. */
function pennTreebank(line: string): string {
  return join(line, (word, previous, next) => {
    const text = word.replaceAll('\\/', '/');
    if (isContraction(word, previous) || word === "'") return { text, touches: 'left' };
    if (word === '%' && previous === 'N') return { text, touches: 'left' };
    if (/^(?:\$|#|us\$|c\$)$/.test(word) && next === 'N') return { text, touches: 'right' };
    return { text, touches: 'none' };
  });
}

const brackets: Readonly<Record<string, string>> = {
  ...{ '-LRB-': '(', '-LSB-': '[', '-LCB-': '{' },
  ...{ '-RRB-': ')', '-RSB-': ']', '-RCB-': '}' },
};

/** Texts in the style of Penn Treebank with punctuation: "``" and "''" for quotation marks, "-LRB-" for a bracket. */
function quoted(line: string): string {
  const punctuation = new Punctuation();
  return join(line, (word, previous, next) => {
    const text = (brackets[word] ?? word).replaceAll('\\/', '/');
    if (text === '``') return { text: '"', touches: 'right' };
    if (text === '`') return { text: "'", touches: 'right' };
    if (text === "''") return { text: '"', touches: 'left' };
    if (text === "'") return { text, touches: 'left' }; // "`" opens; this closes, or is the apostrophe of a plural
    if (isContraction(text, previous)) return { text, touches: 'left' };
    return punctuation.partOf(text, next);
  });
}

/** Punctuation that is a word. Every other straight quotation mark opens. */
class Punctuation {
  #isQuoted = false;

  partOf(word: string, next: string): Part {
    const text = word;
    if (word === '"') {
      this.#isQuoted = !this.#isQuoted;
      return { text, touches: this.#isQuoted ? 'right' : 'left' };
    }
    if (/^[.,;:!?%)\]}]+$/.test(word) || isContraction(word, '')) return { text, touches: 'left' };
    if (/^[([{]$/.test(word)) return { text, touches: 'right' };
    if (/^(?:\p{L}{0,3}[$£€¥]|°)$/u.test(word) && /^[\d.CF]/.test(next)) {
      return { text, touches: 'right' };
    }
    return { text, touches: 'none' };
  }
}

const halves = new Set(['gon na', 'wan na', 'got ta', 'can not']);

/** "do n't" and "he 's", as Penn Treebank has them, "don 't" as Moses has it, and words that Penn Treebank divides. */
function isContraction(word: string, previous: string): boolean {
  return (
    /^(?:n't|'(?:s|t|re|ve|m|ll|d))$/i.test(word) || halves.has(`${previous} ${word}`.toLowerCase())
  );
}
