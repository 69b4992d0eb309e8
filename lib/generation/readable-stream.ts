import { nodeGlobal } from '../native/globals.js';
import type { GenerationPart } from './generation.js';

/** A Web ReadableStream of parts. Its type is that of the program's global, since not every program has Node's types. */
export type PartStream = (typeof globalThis extends {
  ReadableStream: { prototype: infer Stream };
}
  ? Stream
  : object) &
  AsyncIterable<GenerationPart>;

/** Makes a stream that asks for the next part when it is read, and ends the parts when it is cancelled. */
export function readableStreamOf(parts: AsyncGenerator<GenerationPart, void, void>): PartStream {
  const stream = new (nodeGlobal('ReadableStream'))<GenerationPart>(
    {
      async pull(controller) {
        const { done, value } = await parts.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await parts.return();
      },
    },
    { highWaterMark: 0 },
  );
  return stream as unknown as PartStream;
}
