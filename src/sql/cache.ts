/**
 * A map from bytes to values, bounded in entries and in bytes, and exact: the hash only finds the chain, the bytes
 * decide. Two generations approximate "least recently used" without a list to maintain: when the young one is full, it
 * becomes the old one, and the old one is dropped; what is found in the old one moves to the young.
 */
interface Entry<Value> {
  readonly key: Uint8Array;
  readonly value: Value;
  next: Entry<Value> | null;
}

/** Somebody may choose texts whose hashes collide; longer chains are not searched, and lose their tail. */
const MAX_CHAIN = 8;
/** What an entry costs beyond its key, roughly. */
const ENTRY_BYTES = 200;

export class ByteCache<Value> {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  #young = new Map<number, Entry<Value>>();
  #old = new Map<number, Entry<Value>>();
  #youngEntries = 0;
  #youngBytes = 0;
  #oldEntries = 0;

  /** `maxEntries` and `maxBytes` hold for both generations together. */
  constructor(maxEntries: number, maxBytes: number) {
    this.#maxEntries = maxEntries / 2;
    this.#maxBytes = maxBytes / 2;
  }

  get size(): number {
    return this.#youngEntries + this.#oldEntries;
  }

  get(hash: number, bytes: Uint8Array, start: number, end: number): Value | undefined {
    const young = find(this.#young.get(hash), bytes, start, end);
    if (young) return young.value;
    const old = find(this.#old.get(hash), bytes, start, end);
    if (!old) return undefined;
    this.set(hash, bytes, start, end, old.value);
    return old.value;
  }

  set(hash: number, bytes: Uint8Array, start: number, end: number, value: Value): void {
    const cost = end - start + ENTRY_BYTES;
    if (cost > this.#maxBytes) return;
    if (this.#youngEntries >= this.#maxEntries || this.#youngBytes + cost > this.#maxBytes) {
      this.#old = this.#young;
      this.#oldEntries = this.#youngEntries;
      this.#young = new Map();
      this.#youngEntries = 0;
      this.#youngBytes = 0;
    }
    const key = new Uint8Array(end - start);
    key.set(bytes.subarray(start, end)); // a copy; Buffer's own slice() would be a view
    const entry: Entry<Value> = { key, value, next: this.#young.get(hash) ?? null };
    this.#young.set(hash, entry);
    this.#youngEntries++;
    this.#youngBytes += cost;
    let last = entry;
    for (let length = 1; last.next; length++) {
      if (length === MAX_CHAIN) last.next = null;
      else last = last.next;
    }
  }
}

function find<Value>(
  entry: Entry<Value> | null | undefined,
  bytes: Uint8Array,
  start: number,
  end: number,
): Entry<Value> | null {
  const length = end - start;
  for (let each = entry ?? null; each; each = each.next) {
    const { key } = each;
    if (key.length !== length) continue;
    let i = 0;
    while (i < length && key[i] === bytes[start + i]) i++;
    if (i === length) return each;
  }
  return null;
}

/** FNV-1a in 30 bits, so that it stays a small integer. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return (hash ^ (hash >>> 15)) & 0x3fffffff;
}
