/** How far a stage of loading or converting a model has come. */
export interface LoadProgress {
  stage: 'download' | 'convert' | 'load';
  /** bytes */
  done: number;
  /** bytes */
  total: number;
}
