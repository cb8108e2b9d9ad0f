/**
 * When each credential was last used, to the minute: a login must not wait for it, and a busy pool of connections must
 * not write it every time. Noted in memory, written once in a while; what a crash loses is also in the journal.
 */
import type { Kysely } from 'kysely';
import type { Clock } from '../base/clock.ts';
import type { Uid } from '../base/ids.ts';
import type { StoreSchema } from '../store/schema.ts';

const MAX_NOTED = 10_000;

export class LastUsed {
  readonly #db: Kysely<StoreSchema>;
  readonly #clock: Clock;
  #noted = new Map<Uid, number>();

  constructor(db: Kysely<StoreSchema>, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  touch(credentialUid: Uid): void {
    if (this.#noted.size < MAX_NOTED || this.#noted.has(credentialUid))
      this.#noted.set(credentialUid, this.#clock.wallUs());
  }

  /** Writes what was noted. When the store is away, it is noted again for the next time, and the error passed on. */
  async flush(): Promise<void> {
    const noted = this.#noted;
    this.#noted = new Map();
    for (const [uid, us] of noted) {
      try {
        await this.#db.updateTable('credentials').set({ last_used_us: us }).where('uid', '=', uid).execute();
        noted.delete(uid);
      } catch (error) {
        for (const [left, at] of noted) if (!this.#noted.has(left)) this.#noted.set(left, at);
        throw error;
      }
    }
  }
}
