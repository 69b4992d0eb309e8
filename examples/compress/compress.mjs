// The command.

import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { loadModel } from 'gpt2-native';
import { compare } from './compare.mjs';
import { compress, decompress } from './compressor.mjs';

const usage = `Usage: node compress.mjs compress <in> <out> [--model file.gguf] [--threads n]
       node compress.mjs decompress <in> <out> [--model file.gguf] [--threads n]
       node compress.mjs compare <files…> [--model file.gguf] [--threads n]`;

/** A command line that is not as the usage says. */
class UsageError extends Error {}

function readArguments() {
  const { values, positionals } = parse();
  const { help = false, model, threads } = values;
  if (threads !== undefined && !/^[1-9]\d*$/.test(threads)) {
    throw new UsageError(`Expected --threads to be a positive number but received "${threads}".`);
  }
  const [command, ...files] = positionals;
  return {
    help,
    model,
    threads: threads === undefined ? undefined : Number(threads),
    command,
    files,
  };
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        model: { type: 'string' },
        threads: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** @param {ReturnType<typeof readArguments>} options */
async function run({ help, model: source, threads, command, files }) {
  if (help) return console.log(usage);
  const isComparison = command === 'compare';
  if (!isComparison && command !== 'compress' && command !== 'decompress') {
    throw new UsageError(
      `Expected compress, decompress or compare but received ${command ?? 'nothing'}.`,
    );
  }
  if (isComparison ? files.length === 0 : files.length !== 2) {
    throw new UsageError(
      `Expected ${isComparison ? 'files' : 'two files'} but received ${files.length}.`,
    );
  }
  // Only the CPU gives the same bits for one token at a time as for many.
  const model = await loadModel(source, { device: 'cpu', threads });
  try {
    if (isComparison) {
      for (const file of files) {
        console.log(`${await compare(model, basename(file), await readFile(file))}\n`);
      }
    } else {
      const [input, output] = files;
      const convert = command === 'compress' ? compress : decompress;
      await writeWhole(output, await convert(model, await readFile(input)));
    }
  } finally {
    await model.dispose();
  }
}

/**
 * Writes a file under another name and renames it, so that there is never a part of it under its own.
 *
 * @param {string} path
 * @param {Buffer} content
 */
async function writeWhole(path, content) {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, content, { flag: 'wx' });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

try {
  await run(readArguments());
} catch (error) {
  console.error(`compress: ${messageOf(error)}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
