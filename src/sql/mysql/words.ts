/**
 * The words that mean something to us, each as one shared string: a lexer that meets one gives that string, so that
 * comparing is comparing pointers and reading a text makes no garbage.
 */
import { BUILT_IN, HARMFUL } from './functions.ts';
import { VERBS } from './verbs.ts';

const KEYWORDS = `
  account add aggregate all alter always analyze and as asc atomic attribute autocommit backup before begin binlog body by cache
  call case catalog chain change char character charset check checksum cipher clone close collate column columns comment commit
  concurrent connection convert create cross current_user cursor data database databases deallocate declare default definer
  delayed delete desc describe deterministic diagnostics discard distinct do drop dumpfile duplicate each else elseif end event
  exists execute explain extended extract factor false fetch final first flush follows for force format from full fulltext
  function get global grant group handler having help high_priority identified if ignore immediate import in index infile
  initially inner insert install instance into invoker is isolation issuer join json kill last lateral leave left level like
  limit local lock logfile loop low_priority master merge minus mode names natural new next no no_write_to_binlog not null of
  off offset old_password on online only open optimize option or order outer outfile over package partition partitions password
  persist persist_only precedes prepare previous procedure purge quick random read recover recursive references release rename
  repair repeat replace replica require reset resignal resource restart restrict return returning revoke right role rollback row
  savepoint schema schemas security select sequence server session set share show shutdown signal slave snapshot soname spatial
  sql start starts statement stop straight_join subject table tables tablespace temporary then ticks to transaction trigger true
  truncate undo uninstall union unique unlock until update usage use user using value values via view wait when where while
  window with work write xa xml subpartition partitioning algorithm language except intersect position substring substr mid trim
  overlay key primary foreign constraint generated one_shot charset unknown nowait skip locked`;

const SLOTS = 8192;

class WordTable {
  readonly #slots: (string | undefined)[] = Array.from({ length: SLOTS });

  constructor(words: Iterable<string>) {
    for (const word of words) this.#add(word);
  }

  /** The listed word that `bytes[from, to)` spells in any case, or ''. `hash` is FNV-1a over `byte | 0x20`. */
  find(hash: number, bytes: Uint8Array, from: number, to: number): string {
    for (let slot = slotOf(hash); ; slot = (slot + 1) & (SLOTS - 1)) {
      const word = this.#slots[slot];
      if (word === undefined) return '';
      if (word.length === to - from && spells(bytes, from, word)) return word;
    }
  }

  /** The same for text that is not at hand as bytes, in lower case. */
  has(word: string): boolean {
    const bytes = Buffer.from(word, 'latin1');
    return this.find(hashOf(bytes), bytes, 0, bytes.length) !== '';
  }

  #add(word: string): void {
    let slot = slotOf(hashOf(Buffer.from(word, 'latin1')));
    for (; this.#slots[slot] !== undefined; slot = (slot + 1) & (SLOTS - 1))
      if (this.#slots[slot] === word) return;
    this.#slots[slot] = word;
  }
}

function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ (byte | 0x20), 0x01000193);
  return hash;
}

function slotOf(hash: number): number {
  return (hash ^ (hash >>> 15)) & (SLOTS - 1);
}

function spells(bytes: Uint8Array, from: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) {
    const wanted = word.charCodeAt(i);
    const byte = bytes[from + i];
    if (byte !== wanted && !(wanted >= 0x61 && wanted <= 0x7a && (byte | 0x20) === wanted)) return false;
  }
  return true;
}

export const WORDS = new WordTable([
  ...KEYWORDS.trim().split(/\s+/),
  ...VERBS.keys(),
  ...HARMFUL.keys(),
  ...BUILT_IN,
]);
