// model-00001-of-00003.gguf, as llama.cpp's gguf-split calls the first part of three.
const partName = /-\d{5}-of-(\d{5})\.gguf$/;

/** The names of all parts of the GGUF file that a part's name belongs to; a file that is not split is its own. */
export function* ggufParts(name: string): Generator<string, void, undefined> {
  const count = partName.exec(name)?.[1];
  if (count === undefined) {
    yield name;
    return;
  }
  for (let number = 1; number <= Number(count); number++) {
    yield name.replace(partName, `-${String(number).padStart(5, '0')}-of-${count}.gguf`);
  }
}

/** The name that a GGUF file had before it was split. */
export function wholeName(name: string): string {
  return name.replace(partName, '.gguf');
}
