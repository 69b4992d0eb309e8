import { join } from 'node:path';
import { type ReadText, readJsonObject } from '../files.js';

/** Tokens added to a vocabulary, such as the role markers of a chat format. */
export interface AddedTokenList {
  /** Ids by token, not validated. */
  ids: ReadonlyMap<string, unknown>;
  /** The special tokens among them and in the vocabulary: they are not text. */
  special: ReadonlySet<string>;
}

/**
 * Reads the added tokens beside vocab.json and merges.txt, as Hugging Face's tokenizers do: from the
 * added_tokens_decoder in tokenizer_config.json, which marks the special ones, or from the older added_tokens.json,
 * where the tokens with a role (bos_token, pad_token and so on) are special.
 */
export async function readAddedTokens(folder: string, read: ReadText): Promise<AddedTokenList> {
  const config = (await readJsonObject(join(folder, 'tokenizer_config.json'), read)) ?? {};
  const decoder = config.added_tokens_decoder;
  if (typeof decoder === 'object' && decoder !== null) {
    return addedTokens(
      Object.entries(decoder).map(([id, token]) => ({ ...Object(token), id: Number(id) })),
    );
  }
  const ids = (await readJsonObject(join(folder, 'added_tokens.json'), read)) ?? {};
  const roles = (await readJsonObject(join(folder, 'special_tokens_map.json'), read)) ?? {};
  const special = new Set([...tokensWithRoles(config), ...tokensWithRoles(roles)]);
  return { ids: new Map(Object.entries(ids)), special };
}

/** The tokens of tokenizer.json's added_tokens, or of a list in the same form. */
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

/** The tokens with a role. Each is written as its text or as an object with the text in `content`. */
export function tokensWithRoles(
  json: Readonly<Record<string, unknown>>,
  names: readonly string[] = roles,
): string[] {
  return names
    .flatMap((role) => json[role])
    .map((token) => (typeof token === 'string' ? token : Object(token).content))
    .filter((token) => typeof token === 'string');
}
