/**
 * The first part of the cheap look at every statement: does any of the telling words stand in it, in whatever case? One
 * pass over the bytes, no allocation.
 *
 * Of each word the scan looks for one pair of bytes, a rare one, and compares the word where the pair stands.
 */

/** A word in lower case, and the offset in it of its rare pair. */
export type TellingWord = readonly [word: string, pairAt: number];

export class SecretWords {
  readonly #words: readonly TellingWord[];
  /** Per byte, the pairs that it may begin, and those that it may end, as bits. */
  readonly #begins = new Uint32Array(256);
  readonly #ends = new Uint32Array(256);

  /** @param words with at most 32 different pairs. */
  constructor(words: readonly TellingWord[]) {
    this.#words = words;
    const pairs = [...new Set(words.map(([word, at]) => word.slice(at, at + 2)))];
    for (const [bit, pair] of pairs.entries())
      for (const spelling of [pair, pair.toUpperCase()]) {
        this.#begins[spelling.charCodeAt(0)] |= 1 << bit;
        this.#ends[spelling.charCodeAt(1)] |= 1 << bit;
      }
  }

  /** Whether any of the words is in `text[start, end)`. */
  in(text: Uint8Array, start: number, end: number): boolean {
    const begins = this.#begins;
    const ends = this.#ends;
    let begun = 0;
    for (let at = start; at < end; at++) {
      const byte = text[at];
      if ((begun & ends[byte]) !== 0 && this.#isAround(text, at - 1, start, end)) return true;
      begun = begins[byte];
    }
    return false;
  }

  #isAround(text: Uint8Array, pair: number, start: number, end: number): boolean {
    for (const [word, before] of this.#words)
      if (hasWordAt(text, pair - before, start, end, word)) return true;
    return false;
  }
}

/** Whether `word`, given in lower case, stands at `at` and within `[start, end)`, in whatever case. */
export function hasWordAt(text: Uint8Array, at: number, start: number, end: number, word: string): boolean {
  if (at < start || at + word.length > end) return false;
  for (let i = 0; i < word.length; i++) {
    const wanted = word.charCodeAt(i);
    const byte = text[at + i];
    if (byte !== wanted && !(wanted >= 0x61 && (byte | 0x20) === wanted)) return false;
  }
  return true;
}
