/** Lets the event loop read its sockets once, and whoever waits have a turn. */
export function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
