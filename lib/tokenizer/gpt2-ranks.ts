import { forEachInTurns } from '../event-loop.js';
import { spellBytes } from './byte-spelling.js';
import { gpt2Vocabulary } from './gpt2-vocabulary.js';

/**
 * Derives GPT-2's vocabulary from gpt-tokenizer's ranks, which are the ids: the 50,256 text tokens by id, as spelt in
 * files, and the merges that form them, as `left right` in the order in which they were learnt.
 */
export async function gpt2Ranks(): Promise<{ tokens: string[]; merges: string[] }> {
  const tokens: string[] = [];
  await forEachInTurns(gpt2Vocabulary.ranks, (token) => {
    tokens.push(spellBytes(Buffer.from(token as string)));
  });
  const rankOf = new Map<string, number>();
  const merges: string[] = [];
  await forEachInTurns(tokens, (token) => {
    if (token.length > 1) merges.push(lastMerge(token, rankOf));
    rankOf.set(token, rankOf.size);
  });
  return { tokens, merges };
}

/** The merge that forms a token: the two parts that remain when all earlier merges are applied to it. */
function lastMerge(token: string, rankOf: ReadonlyMap<string, number>): string {
  const parts = [...token];
  while (parts.length > 2) {
    let best = Number.POSITIVE_INFINITY;
    let at = 0;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = rankOf.get(`${parts[i]}${parts[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (rank >= best) continue;
      best = rank;
      at = i;
    }
    parts.splice(at, 2, `${parts[at]}${parts[at + 1]}`);
  }
  return parts.join(' ');
}
