/**
 * Connection ids. A client learns its id from the greeting, before we know its upstream; so that one is ours, and
 * `KILL` with it means the upstream's. `CONNECTION_ID()` and the process list show the upstream's own, and work as well.
 */
import type { Uid } from '../../../base/ids.ts';

/** Ours begin where those of servers hardly get to; positive also for clients that take 32 bits for signed. */
const FIRST_ID = 0x4000_0000;
const LAST_ID = 0x7fff_ffff;

export interface Connection {
  /** As the client was told. */
  readonly id: number;
  userUid: Uid;
  serverUid: Uid;
  /** 0 until it is open. */
  upstreamId: number;
  /** Runs a KILL for this connection at its server; rejects with the server's error. */
  kill: ((sql: string) => Promise<void>) | null;
}

export class ConnectionIds {
  readonly #byId = new Map<number, Connection>();
  #next = FIRST_ID;

  /** A new connection's; pair with {@link release}. */
  issue(): Connection {
    while (this.#byId.has(this.#next)) this.#advance();
    const connection: Connection = { id: this.#next, userUid: '', serverUid: '', upstreamId: 0, kill: null };
    this.#byId.set(connection.id, connection);
    this.#advance();
    return connection;
  }

  #advance(): void {
    this.#next = this.#next === LAST_ID ? FIRST_ID : this.#next + 1;
  }

  release(connection: Connection): void {
    this.#byId.delete(connection.id);
  }

  /** The open connection that somebody means by an id, if it is one of their own. */
  find(id: number, asking: Connection): Connection | null {
    const told = this.#byId.get(id);
    if (told) return told.userUid === asking.userUid && told.upstreamId !== 0 ? told : null;
    for (const one of this.#byId.values())
      if (one.upstreamId === id && one.serverUid === asking.serverUid)
        return one.userUid === asking.userUid ? one : null;
    return null;
  }
}
