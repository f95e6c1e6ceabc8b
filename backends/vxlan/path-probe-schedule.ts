/**
 * Whom to ask next. Who is in haste (new, or with a question open) and who is not wait in two lines, each by the time that
 * it is due; turns are taken, so that however many are in haste, the others get half of what may be sent. Where more is due
 * than may be sent, who waits longest is first, and everybody's interval becomes longer alike.
 */
export class ProbeSchedule {
  readonly #hasty = new DueQueue();
  readonly #calm = new DueQueue();
  /** Of the last one taken. */
  #wasHasty = false;

  /** @param at ms, on any clock that never jumps back; what was said of this key before no longer counts */
  set(key: string, at: number, isHasty: boolean): void {
    (isHasty ? this.#calm : this.#hasty).delete(key);
    (isHasty ? this.#hasty : this.#calm).set(key, at);
  }

  delete(key: string): void {
    this.#hasty.delete(key);
    this.#calm.delete(key);
  }

  /** When the next is due; undefined: nobody waits. */
  get next(): number | undefined {
    const [hasty, calm] = [this.#hasty.first?.at, this.#calm.first?.at];
    return hasty === undefined || calm === undefined ? (hasty ?? calm) : Math.min(hasty, calm);
  }

  /** Whether somebody in haste is due at `now`. */
  isHasty(now: number): boolean {
    return (this.#hasty.first?.at ?? Number.POSITIVE_INFINITY) <= now;
  }

  /** Whose turn it is at `now`; undefined: nobody is due. */
  peek(now: number): string | undefined {
    return this.#lineAt(now)?.first?.key;
  }

  /** As `peek`, and no longer waits. */
  take(now: number): string | undefined {
    const line = this.#lineAt(now);
    const key = line?.first?.key;
    if (line === undefined || key === undefined) return undefined;
    line.delete(key);
    this.#wasHasty = line === this.#hasty;
    return key;
  }

  #lineAt(now: number): DueQueue | undefined {
    const lines = this.#wasHasty ? [this.#calm, this.#hasty] : [this.#hasty, this.#calm];
    return lines.find(({ first }) => first !== undefined && first.at <= now);
  }
}

interface Due {
  readonly key: string;
  readonly at: number;
}

/** A binary heap; what was taken back or said anew stays in it until it is at the top, or more of it is stale than not. */
class DueQueue {
  #heap: Due[] = [];
  readonly #current = new Map<string, Due>();

  get first(): Due | undefined {
    let top = this.#heap[0];
    while (top !== undefined && this.#current.get(top.key) !== top) {
      this.#dropTop();
      top = this.#heap[0];
    }
    return top;
  }

  set(key: string, at: number): void {
    const due = { key, at };
    this.#current.set(key, due);
    if (this.#heap.length > 2 * this.#current.size + 16) {
      // A sorted array is a heap.
      this.#heap = [...this.#current.values()].sort((a, b) => a.at - b.at);
    } else this.#push(due);
  }

  delete(key: string): void {
    this.#current.delete(key);
  }

  #push(due: Due): void {
    let place = this.#heap.push(due) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = this.#heap[parent];
      if (above === undefined || above.at <= due.at) break;
      this.#heap[place] = above;
      place = parent;
    }
    this.#heap[place] = due;
  }

  #dropTop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    let place = 0;
    for (;;) {
      const [left, right] = [this.#heap[2 * place + 1], this.#heap[2 * place + 2]];
      const isRight = right !== undefined && left !== undefined && right.at < left.at;
      const child = isRight ? right : left;
      if (child === undefined || child.at >= last.at) break;
      this.#heap[place] = child;
      place = 2 * place + (isRight ? 2 : 1);
    }
    this.#heap[place] = last;
  }
}
