/**
 * Calls `expired` once where nothing has been heard for between one and two times `ms`. Time in which the event loop
 * stood still does not count: an immediate runs behind the loop's reading, so what had come in has been heard by then.
 */
export class Silence {
  readonly #timer: NodeJS.Timeout;
  #heard = false;
  #stopped = false;

  constructor(ms: number, expired: () => void) {
    this.#timer = setInterval(() => {
      setImmediate(() => {
        if (!(this.#heard || this.#stopped)) expired();
        this.#heard = false;
      });
    }, ms);
  }

  heard(): void {
    this.#heard = true;
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }
}
