const signals = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs work that the first SIGINT or SIGTERM aborts, and returns that signal. A second one ends the process. The work's
 * own signal is aborted in any case at the end.
 */
export async function untilSignal(
  work: (signal: AbortSignal) => Promise<void>,
): Promise<NodeJS.Signals | undefined> {
  const stop = new AbortController();
  let received: NodeJS.Signals | undefined;
  const stopListening = () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    stopListening();
    received = signal;
    stop.abort();
  };
  for (const signal of signals) process.on(signal, onSignal);
  try {
    await work(stop.signal);
  } catch (error) {
    if (received === undefined) throw error;
  } finally {
    stopListening();
    stop.abort();
  }
  return received;
}
