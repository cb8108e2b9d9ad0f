/**
 * Connection ids. A client learns its id from the greeting, before we know its upstream; so that one is ours, and
 * `KILL` with it means the upstream's. `CONNECTION_ID()` and the process list show the upstream's own, and work as well.
 */
import type { Uid } from '../../../base/ids.ts';
import type { Permit } from '../../../model/access.ts';

/** Ours begin where those of servers hardly get to; positive also for clients that take 32 bits for signed. */
const FIRST_ID = 0x4000_0000;
const LAST_ID = 0x7fff_ffff;

export interface Connection {
  /** As the client was told. */
  readonly id: number;
  userUid: Uid;
  serverUid: Uid;
  /** As people call it. */
  databaseName: string;
  /** See {@link Login.killsOnly}. */
  killsOnly: string;
  /** 0 until it is open. */
  upstreamId: number;
  /** Grows with every session that is opened. */
  openedAs: number;
  /** A command is not answered yet. */
  running: () => boolean;
}

export class ConnectionIds {
  readonly #byId = new Map<number, Connection>();
  #next = FIRST_ID;
  #opened = 0;

  /** A new connection's; pair with {@link release}. */
  issue(): Connection {
    while (this.#byId.has(this.#next)) this.#advance();
    const connection: Connection = {
      id: this.#next,
      userUid: '',
      serverUid: '',
      databaseName: '',
      killsOnly: '',
      upstreamId: 0,
      openedAs: 0,
      running: () => false,
    };
    this.#byId.set(connection.id, connection);
    this.#advance();
    return connection;
  }

  #advance(): void {
    this.#next = this.#next === LAST_ID ? FIRST_ID : this.#next + 1;
  }

  /** It has a session now. */
  opened(connection: Connection, permit: Permit, upstreamId: number, running: () => boolean): void {
    connection.userUid = permit.userUid;
    connection.serverUid = permit.upstream.serverUid;
    connection.databaseName = permit.databaseName;
    connection.upstreamId = upstreamId;
    connection.openedAs = ++this.#opened;
    connection.running = running;
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

  /**
   * The database of the session that somebody most likely means: the one opened last, of those that run something if any
   * does. '' when they have none.
   */
  latestDatabase(userUid: Uid): string {
    let best: Connection | null = null;
    for (const one of this.#byId.values()) {
      if (one.upstreamId === 0 || one.userUid !== userUid) continue;
      const runs = Number(one.running()) - Number(best?.running() ?? false);
      if (!best || runs > 0 || (runs === 0 && one.openedAs > best.openedAs)) best = one;
    }
    return best?.databaseName ?? '';
  }
}
