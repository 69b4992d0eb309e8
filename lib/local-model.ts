import { join } from 'node:path';

/** A model on this machine. */
export interface LocalModel {
  /** A GGUF file, or a checkpoint: its folder, or the file with its weights. */
  path: string;
  /** The name that its conversions get. Default: the last part of the path. */
  name?: string;
}

/** The path of the model that comes with the package; models/README.md describes it. */
export const defaultModel = join(__dirname, '..', 'models', 'gpt2-books.gguf').replace(
  // The engine maps the file, which only Electron's own functions find within an archive.
  /app\.asar(?=[\\/])/,
  'app.asar.unpacked',
);
