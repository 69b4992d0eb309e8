import { join } from 'node:path';
import { readJsonObject } from '../files.js';

/** Tokens that were added to a vocabulary, such as those of a dialogue's roles. */
export interface AddedTokenList {
  /** ids by token; not yet checked */
  ids: ReadonlyMap<string, unknown>;
  /** those of them, and of the vocabulary, that are no text */
  special: ReadonlySet<string>;
}

/**
 * What stands beside vocab.json and merges.txt, as Hugging Face's tokenizers read it: the added_tokens_decoder in
 * tokenizer_config.json, which says of each token whether it is special; or, older, added_tokens.json, of which
 * those are special that have a role.
 */
export async function readAddedTokens(folder: string): Promise<AddedTokenList> {
  const config = (await readJsonObject(join(folder, 'tokenizer_config.json'))) ?? {};
  const decoder = config.added_tokens_decoder;
  if (typeof decoder === 'object' && decoder !== null) {
    return addedTokens(
      Object.entries(decoder).map(([id, token]) => ({ ...Object(token), id: Number(id) })),
    );
  }
  const ids = (await readJsonObject(join(folder, 'added_tokens.json'))) ?? {};
  const roles = (await readJsonObject(join(folder, 'special_tokens_map.json'))) ?? {};
  const special = new Set([...tokensWithRoles(config), ...tokensWithRoles(roles)]);
  return { ids: new Map(Object.entries(ids)), special };
}

/** The tokens of tokenizer.json's added_tokens, or of a list made of what says the same. */
export function addedTokens(list: readonly unknown[]): AddedTokenList {
  const ids = new Map<string, unknown>();
  const special = new Set<string>();
  for (const entry of list) {
    const { content, id, special: isSpecial } = Object(entry);
    if (typeof content !== 'string') continue;
    ids.set(content, id);
    if (isSpecial === true) special.add(content);
  }
  return { ids, special };
}

const roles = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
  'additional_special_tokens',
];

/** A token is written as its text, or as an object with its text as `content`. */
function tokensWithRoles(json: Record<string, unknown>): string[] {
  return roles
    .flatMap((role) => json[role])
    .map((token) => (typeof token === 'string' ? token : Object(token).content))
    .filter((token) => typeof token === 'string');
}
