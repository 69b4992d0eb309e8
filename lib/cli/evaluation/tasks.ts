import { childrensBookTask } from './childrens-books.js';
import { hellaSwag } from './hellaswag.js';
import { lambada } from './lambada.js';
import { corpusTask, sentencesTask, tailTask } from './perplexity.js';
import { paper } from './published.js';
import type { Task } from './task.js';
import { winograd } from './winograd.js';

/** In the order of the paper's table. */
export const tasks: readonly Task[] = [
  lambada,
  childrensBookTask('CN', paper.cbtCommonNouns),
  childrensBookTask('NE', paper.cbtNamedEntities),
  corpusTask({
    ...{ name: 'wikitext-2', data: 'wiki.test.tokens', published: paper.wikiText2 },
    ...{ detokenizer: 'wikitext', publishedWords: 245_569 },
  }),
  corpusTask({
    ...{ name: 'ptb', data: 'ptb.test.txt', published: paper.pennTreebank },
    ...{ detokenizer: 'pennTreebank', publishedWords: 82_430 },
  }),
  tailTask({
    ...{ name: 'enwik8', data: 'enwik8', published: paper.enwik8, title: 'bits per byte' },
  }),
  tailTask({
    ...{ name: 'text8', data: 'text8', published: paper.text8, title: 'bits per character' },
  }),
  corpusTask({
    ...{ name: 'wikitext-103', data: 'wiki.test.tokens', published: paper.wikiText103 },
    ...{ detokenizer: 'wikitext', publishedWords: 245_569 },
  }),
  sentencesTask({
    ...{ name: '1bw', data: 'news.en.heldout-00000-of-00050', published: paper.billionWords },
    detokenizer: 'quoted',
  }),
  winograd,
  hellaSwag,
];
