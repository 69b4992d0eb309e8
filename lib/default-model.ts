import { join } from 'node:path';

/** The model that comes with the package; models/README.md says what it is and what it is for. */
export const defaultModel = join(__dirname, '..', 'models', 'gpt2-books.gguf');
