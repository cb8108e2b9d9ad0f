/** A first-in-first-out queue without garbage: what is taken from its front is forgotten in bulk. */
export class Fifo<T> {
  #items: T[] = [];
  #first = 0;

  get size(): number {
    return this.#items.length - this.#first;
  }

  head(): T | null {
    return this.#first < this.#items.length ? this.#items[this.#first] : null;
  }

  /** The newest, or `null`. */
  last(): T | null {
    return this.#first < this.#items.length ? this.#items[this.#items.length - 1] : null;
  }

  /** @param index from 0, the oldest. */
  at(index: number): T {
    return this.#items[this.#first + index];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the oldest; call only while there is one. */
  shift(): T {
    const item = this.#items[this.#first++];
    if (this.#first === this.#items.length) {
      this.#items.length = 0;
      this.#first = 0;
    } else if (this.#first >= 64 && this.#first * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }

  /** Takes back the `count` newest, oldest of them first. */
  dropNewest(count: number): T[] {
    return this.#items.splice(this.#items.length - count, count);
  }
}
