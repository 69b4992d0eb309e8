interface Limits {
  /** The number of items that are worked on at the same time. */
  parallel: number;
  /** The number of items that are worked on or wait for an earlier one. */
  window: number;
}

/**
 * Works on several items at the same time and yields the results in the order of the items. An item is read only when
 * there is room for it. A result is yielded as soon as those before it are, whether or not another item has arrived.
 */
export async function* mapInOrder<Item, Result>(
  items: AsyncIterable<Item>,
  { parallel, window }: Limits,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result, void, void> {
  const results: Promise<Result>[] = [];
  const change = new Change();
  let running = 0;
  let isOver = false;

  const start = async (item: Item): Promise<Result> => {
    running++;
    try {
      return await work(item);
    } finally {
      running--;
      change.announce();
    }
  };
  const startAll = async () => {
    for await (const item of items) {
      const result = start(item);
      result.catch(() => {}); // it may fail before its turn
      results.push(result);
      change.announce();
      while (!isOver && (running >= parallel || results.length >= window)) await change.next();
      if (isOver) return;
    }
  };
  let isRead = false;
  const reading = startAll().finally(() => {
    isRead = true;
    change.announce();
  });
  reading.catch(() => {}); // thrown below

  try {
    while (!isRead || results.length > 0) {
      const [first] = results;
      if (!first) {
        await change.next();
        continue;
      }
      yield await first;
      void results.shift();
      change.announce();
    }
    await reading;
  } finally {
    isOver = true;
    change.announce();
  }
}

/** Wakes those that wait for a change. */
class Change {
  #wake = () => {};
  #next = this.#begin();

  next(): Promise<void> {
    return this.#next;
  }

  announce(): void {
    this.#wake();
    this.#next = this.#begin();
  }

  #begin(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
