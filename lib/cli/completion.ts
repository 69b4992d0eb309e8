import type { Model } from '../model.js';
import type { Session } from '../session.js';
import type { CompleteView, Continuation } from './complete-screen.js';
import type { Draft } from './draft.js';
import type { KeyPress } from './key-presses.js';
import { LatestLogits } from './latest-logits.js';
import { likeliestTokens } from './likeliest-tokens.js';
import { visibleText, visibleToken } from './visible-text.js';

/** The number of continuations in the list, which scrolls. */
const listLength = 100;

/** The milliseconds after which the screen says that the model computes. Before, it would only flicker. */
const patience = 200;

interface CompletionParts {
  model: Model;
  session: Session;
  draft: Draft;
  modelName: string;
  /** Called when there is something new to see. */
  onChange: () => void;
  /** Receives the error of an evaluation. */
  onFailure: (error: unknown) => void;
}

const space = 0x20;

/** What gpt2 complete does with keys: it changes the draft, and evaluates the latest version. */
export class Completion {
  readonly #model: Model;
  readonly #draft: Draft;
  readonly #modelName: string;
  readonly #onChange: () => void;
  readonly #onFailure: (error: unknown) => void;
  readonly #latest: LatestLogits;
  #continuations: (Continuation & { token: number })[] = [];
  #chosen = 0;
  /** The number of tokens that the continuations follow. */
  #tokenCount = 0;
  #isAfterSpace = false;
  /** Whether the continuations are those of the draft. Only then, one can be taken. */
  #isCurrent = false;
  #isSlow = false;

  constructor({ model, session, draft, modelName, onChange, onFailure }: CompletionParts) {
    this.#model = model;
    this.#latest = new LatestLogits(session);
    this.#draft = draft;
    this.#modelName = modelName;
    this.#onChange = onChange;
    this.#onFailure = onFailure;
    this.#update();
  }

  get view(): CompleteView {
    return {
      text: visibleText(this.#draft.text) + visibleToken(this.#draft.unfinished),
      continuations: this.#continuations,
      chosen: this.#isSlow ? undefined : this.#chosen,
      status: visibleText([...this.#states(), this.#modelName].join(' · ')),
    };
  }

  press(press: Exclude<KeyPress, { kind: 'leave' }>): void {
    switch (press.kind) {
      case 'up':
        this.#choose(this.#chosen - 1);
        return;
      case 'down':
        this.#choose(this.#chosen + 1);
        return;
      case 'take': {
        const chosen = this.#continuations[this.#chosen];
        if (!chosen || !this.#isCurrent) return;
        this.#draft.take(chosen.token);
        break;
      }
      case 'character':
        this.#draft.type(press.text);
        break;
      case 'paste':
        this.#draft.paste(press.text);
        break;
      case 'delete':
        this.#draft.deleteCharacter();
        break;
      case 'undo':
        this.#draft.undo();
        break;
    }
    this.#update();
  }

  #choose(index: number): void {
    if (!this.#isCurrent || !this.#continuations[index]) return;
    this.#chosen = index;
    this.#onChange();
  }

  #update(): void {
    this.#isCurrent = false;
    this.#chosen = 0;
    this.#onChange();
    this.#evaluate().catch(this.#onFailure);
  }

  async #evaluate(): Promise<void> {
    const slow = setTimeout(() => {
      this.#isSlow = true;
      this.#onChange();
    }, patience);
    let tokens: readonly number[] = [];
    let isAfterSpace = false;
    try {
      const logits = await this.#latest.after(() => {
        tokens = this.#draft.tokens();
        isAfterSpace = this.#draft.endsWithSpace;
        return tokens.slice(-this.#model.config.contextLength);
      });
      if (!logits) return; // the draft has changed meanwhile
      this.#continuations = this.#continuationsOf(isAfterSpace ? this.#withSpace(logits) : logits);
      this.#tokenCount = tokens.length;
      this.#isAfterSpace = isAfterSpace;
      this.#isCurrent = true;
      this.#isSlow = false;
      this.#onChange();
    } finally {
      clearTimeout(slow);
    }
  }

  /** The logits of the tokens that begin with a space. No other is possible after one. */
  #withSpace(logits: Float32Array): Float32Array {
    const { tokenizer } = this.#model;
    return logits.map((logit, token) =>
      tokenizer.decodeToken(token)[0] === space ? logit : Number.NEGATIVE_INFINITY,
    );
  }

  #continuationsOf(logits: Float32Array): (Continuation & { token: number })[] {
    return likeliestTokens(logits, listLength)
      .map(({ token, probability }) => {
        const label = visibleToken(this.#model.tokenizer.decodeToken(token));
        return { token, label, probability };
      })
      .filter(({ label }) => label !== ''); // tokens that only pad the vocabulary
  }

  #states(): string[] {
    if (this.#continuations.length === 0) return this.#isSlow ? ['computing'] : [];
    const { contextLength } = this.#model.config;
    return [
      this.#tokenCount > contextLength
        ? `the last ${contextLength} of ${this.#tokenCount} tokens`
        : `${this.#tokenCount} of ${contextLength} tokens`,
      ...(this.#isAfterSpace ? ['the space begins the next'] : []),
      ...(this.#isSlow ? ['computing'] : []),
    ];
  }
}
