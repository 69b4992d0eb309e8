// Data sets were divided into words for models that knew words only: "do n't", "( 1990 – 91 )", "4 @,@ 000". A detokenizer
// writes a line as people do. The paper calls its own invertible, worth 2.5 to 5 in perplexity, and did not publish them; these
// remove the same kinds of traces.

export const detokenizers = { wikitext, pennTreebank, quoted } as const;

export type DetokenizerName = keyof typeof detokenizers;

/** WikiText: words of Moses, with marks for hyphens and separators within them. */
function wikitext(line: string): string {
  const text = line
    .replace(/ @([-,.])@ /g, '$1')
    .trim()
    .replace(/^((?:= )+)(.*?)((?: =)+)$/, (_, open, title, close) => heading(open, title, close));
  return joinPunctuation(text);
}

/** " = = Title = = " is "== Title ==" in Wikipedia. */
function heading(open: string, title: string, close: string): string {
  return `${open.replaceAll(' ', '')} ${title} ${close.replaceAll(' ', '')}`;
}

/** Penn Treebank as Mikolov et al. (2010) prepared it: lower case, no punctuation, "N" for numbers. */
function pennTreebank(line: string): string {
  return joinContractions(line.trim())
    .replace(/([$#]) (?=N\b)/g, '$1')
    .replace(/(?<=\bN) (?=%)/g, '');
}

/** Texts in the style of Penn Treebank with punctuation: "``" and "''" for quotation marks, "-LRB-" for a bracket. */
function quoted(line: string): string {
  const text = line
    .trim()
    .replace(/-LRB-/g, '(')
    .replace(/-RRB-/g, ')')
    .replace(/(?<=^|\s)`` ?/g, '\u0001') // a mark that no text contains
    .replace(/ ?''(?=\s|$)/g, '"')
    .replaceAll('\u0001', '"')
    .replace(/(?<=^|\s)` (?=\w)/g, "'");
  return joinPunctuation(text);
}

function joinPunctuation(text: string): string {
  return joinQuotes(joinContractions(text))
    .replace(/ (?=[.,;:!?%)\]}]+(?:[\s"']|$))/g, '')
    .replace(/(?<=[([{]) /g, '')
    .replace(/(?<=(?:^|\s)[$£€]) (?=\d)/g, '');
}

/** "do n't" and "he 's", as the tokens of Penn Treebank have them, and "don 't" as those of Moses. */
function joinContractions(text: string): string {
  return text.replace(/ (?=n't\b)/gi, '').replace(/(?<=\S) (?='(?:s|t|re|ve|m|ll|d)\b)/gi, '');
}

/** Every other straight quotation mark between spaces opens. */
function joinQuotes(text: string): string {
  let opens = false;
  return text.replace(/(^| )"( |$)/g, (_, before: string, after: string) => {
    opens = !opens;
    return opens ? `${before}"` : `"${after}`;
  });
}
