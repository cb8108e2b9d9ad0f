/** A first-in-first-out queue with constant-time push and shift: a ring that keeps its memory. */
export class Fifo<T> {
  /** Its length is a power of two. */
  #items: (T | undefined)[] = Array.from({ length: 16 });
  #first = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  head(): T | null {
    return this.#size > 0 ? (this.#items[this.#first] as T) : null;
  }

  /** The newest, or `null`. */
  last(): T | null {
    return this.#size > 0 ? this.at(this.#size - 1) : null;
  }

  /** @param index from 0, the oldest. */
  at(index: number): T {
    return this.#items[(this.#first + index) & (this.#items.length - 1)] as T;
  }

  push(item: T): void {
    if (this.#size === this.#items.length) this.#grow();
    this.#items[(this.#first + this.#size) & (this.#items.length - 1)] = item;
    this.#size++;
  }

  /** Takes the oldest; call only while there is one. */
  shift(): T {
    const item = this.#items[this.#first] as T;
    this.#items[this.#first] = undefined;
    this.#first = (this.#first + 1) & (this.#items.length - 1);
    this.#size--;
    return item;
  }

  /** Keeps only the items that pass, and returns the others, oldest first. For what is rare. */
  filter(keep: (item: T, index: number) => boolean): T[] {
    const kept: T[] = [];
    const dropped: T[] = [];
    for (let i = 0; i < this.#size; i++) {
      const item = this.at(i);
      (keep(item, i) ? kept : dropped).push(item);
    }
    this.#items.fill(undefined);
    this.#first = 0;
    this.#size = 0;
    for (const item of kept) this.push(item);
    return dropped;
  }

  /** Takes back the `count` newest, oldest of them first. */
  dropNewest(count: number): T[] {
    const kept = this.#size - count;
    return this.filter((_item, index) => index < kept);
  }

  #grow(): void {
    const grown: (T | undefined)[] = Array.from({ length: this.#items.length * 2 });
    for (let i = 0; i < this.#size; i++) grown[i] = this.at(i);
    this.#items = grown;
    this.#first = 0;
  }
}
