/** Values of the four sizes, in the order of `publishedSizes`; undefined where none was published. */
export type PublishedValues = readonly (number | undefined)[];

/** The sizes by the names of the paper, which left out the position embeddings. */
export const publishedSizes = ['117M', '345M', '762M', '1542M'] as const;

/**
 * Zero-shot results of "Language Models are Unsupervised Multitask Learners" (Radford et al. 2019), table 3 and section 3.4.
 * Accuracies are shares.
 */
export const paper = {
  lambadaPerplexity: [35.13, 15.6, 10.87, 8.63],
  lambadaAccuracy: [0.4599, 0.5548, 0.6012, 0.6324],
  cbtCommonNouns: [0.8765, 0.9235, 0.9345, 0.933],
  cbtNamedEntities: [0.834, 0.871, 0.88, 0.8905],
  wikiText2: [29.41, 22.76, 19.93, 18.34],
  pennTreebank: [65.85, 47.33, 40.31, 35.76],
  enwik8: [1.16, 1.01, 0.97, 0.93],
  text8: [1.17, 1.06, 1.02, 0.98],
  wikiText103: [37.5, 26.37, 22.05, 17.48],
  billionWords: [75.2, 55.72, 44.575, 42.16],
  winograd: [undefined, undefined, undefined, 70.7 / 100],
} satisfies Record<string, PublishedValues>;

/** Results of EleutherAI's lm-evaluation-harness, which measures as the tasks here do. */
export const harness = {
  lambadaPerplexity: [40.06, undefined, undefined, undefined],
  lambadaAccuracy: [0.3256, undefined, undefined, undefined],
  hellaSwag: [0.2892, undefined, undefined, 0.4004],
  hellaSwagByLength: [0.3114, undefined, undefined, 0.5089],
} satisfies Record<string, PublishedValues>;
