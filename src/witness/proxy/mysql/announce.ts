/**
 * What our greeting promises. It goes out before the client has named its database, so it must be true of every server
 * that the client may come to: the capabilities that all of them have, the version of the oldest of them.
 *
 * Servers are known from their own greetings: read once when a server appears among the configured ones, and again with
 * every session. As long as none is known, only what all of them have had since MySQL 5.5 is promised.
 */
import type { Authority, ServerAddress } from '../../../model/access.ts';
import type { Reactor } from '../../../transport/link.ts';
import {
  decodeHandshakeV10,
  type HandshakeV10,
  isMariadb,
  plainVersion,
} from '../../../wire/mysql/handshake.ts';
import {
  type Capabilities,
  Capability as C,
  MariadbCapability as M,
  upstreamAuthenticating,
} from '../../../wire/mysql/protocol.ts';
import { ERR } from '../../../wire/mysql/responses.ts';
import { withTimeout } from '../handshake.ts';
import type { Family } from './context.ts';
import { PacketWire } from './packet-wire.ts';
import { upstreamAddress } from './upstream-address.ts';

/** What every server has that we go to. */
const BASE =
  C.FOUND_ROWS |
  C.LONG_FLAG |
  C.CONNECT_WITH_DB |
  C.NO_SCHEMA |
  C.ODBC |
  C.LOCAL_FILES |
  C.IGNORE_SPACE |
  C.PROTOCOL_41 |
  C.INTERACTIVE |
  C.IGNORE_SIGPIPE |
  C.TRANSACTIONS |
  C.RESERVED |
  C.SECURE_CONNECTION |
  C.MULTI_STATEMENTS |
  C.MULTI_RESULTS |
  C.PS_MULTI_RESULTS |
  C.PLUGIN_AUTH |
  C.CONNECT_ATTRS |
  C.PLUGIN_AUTH_LENENC_CLIENT_DATA |
  C.CAN_HANDLE_EXPIRED_PASSWORDS;

/** What is relayed where the server has it: these change how packets read, so both sides must agree to the same. */
export const WIRE_FLAGS: number =
  C.SESSION_TRACK | C.DEPRECATE_EOF | C.OPTIONAL_RESULTSET_METADATA | C.QUERY_ATTRIBUTES;
export const WIRE_FLAGS_MARIADB: number =
  M.PROGRESS | M.STMT_BULK_OPERATIONS | M.EXTENDED_METADATA | M.CACHE_METADATA | M.BULK_UNIT_RESULTS;

const SUFFIX = '-dbwitness';
const UNKNOWN_VERSION = `8.0.11${SUFFIX}`;
const UTF8MB4_GENERAL_CI = 45;
/** Servers that could not be reached are tried again, and those of other nodes looked for, as clients come. */
const REFRESH_MS = 30_000;
const PROBE_TIMEOUT_MS = 5_000;

export interface Offer {
  readonly serverVersion: string;
  readonly capabilities: Capabilities;
  readonly collation: number;
}

interface Known {
  readonly family: Family;
  readonly serverVersion: string;
  readonly capabilities: Capabilities;
  readonly collation: number;
}

export class Announcement {
  readonly #reactor: Reactor;
  readonly #authority: Authority;
  readonly #nowUs: () => number;
  readonly #known = new Map<string, Known>();
  #configured: ReadonlySet<string> = new Set();
  #refreshedUs = -Infinity;
  #refreshing: Promise<void> | null = null;
  #offer: Offer | null = null;

  constructor(reactor: Reactor, authority: Authority, monotonicUs: () => number) {
    this.#reactor = reactor;
    this.#authority = authority;
    this.#nowUs = monotonicUs;
    authority.onNotice((notice) => {
      if (notice.kind === 'servers_changed') void this.refresh();
    });
  }

  /** What to promise to the next client. */
  get offer(): Offer {
    if (this.#nowUs() - this.#refreshedUs > REFRESH_MS * 1000) void this.refresh();
    return (this.#offer ??= offerOf([...this.#known.values()]));
  }

  /** A server has greeted one of our sessions. */
  learn(serverUid: string, greeting: HandshakeV10): void {
    this.#known.set(serverUid, {
      family: isMariadb(greeting) ? 'mariadb' : 'mysql',
      serverVersion: greeting.serverVersion,
      capabilities: greeting.capabilities,
      collation: greeting.collation,
    });
    this.#offer = null;
  }

  /** Asks which servers there are, and gets to know the new ones. Never rejects. */
  refresh(): Promise<void> {
    return (this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    }));
  }

  async #refresh(): Promise<void> {
    this.#refreshedUs = this.#nowUs();
    let servers: readonly ServerAddress[];
    try {
      servers = await this.#authority.servers();
    } catch {
      return; // the control plane is away; what is known stays
    }
    this.#configured = new Set(servers.map(({ serverUid }) => serverUid));
    for (const uid of this.#known.keys()) if (!this.#configured.has(uid)) this.#known.delete(uid);
    this.#offer = null;
    await Promise.all(
      servers.filter(({ serverUid }) => !this.#known.has(serverUid)).map((one) => this.#probe(one)),
    );
  }

  /** A server's greeting, read and left: one that cannot be reached is not known, and promises nothing. */
  async #probe(server: ServerAddress): Promise<void> {
    try {
      const link = await this.#reactor.dial(upstreamAddress(server, PROBE_TIMEOUT_MS));
      try {
        const wire = new PacketWire(link, upstreamAuthenticating);
        const payload = await withTimeout(wire.read(), PROBE_TIMEOUT_MS, 'the greeting of a database server');
        if (payload[0] !== ERR) this.learn(server.serverUid, decodeHandshakeV10(payload, 0, payload.length));
      } finally {
        link.destroy();
      }
    } catch {
      // Sessions to it will tell their clients what is wrong with it.
    }
  }
}

function offerOf(known: readonly Known[]): Offer {
  if (known.length === 0)
    return {
      serverVersion: UNKNOWN_VERSION,
      capabilities: { flags: (BASE | C.LONG_PASSWORD) >>> 0, mariadb: 0 },
      collation: UTF8MB4_GENERAL_CI,
    };
  const mariadbOnly = known.every(({ family }) => family === 'mariadb');
  const modern = known.every(({ capabilities }) => (capabilities.flags & C.LONG_PASSWORD) === 0);
  let flags = WIRE_FLAGS;
  let mariadb = mariadbOnly && modern ? WIRE_FLAGS_MARIADB : 0;
  for (const { capabilities } of known) {
    flags &= capabilities.flags;
    mariadb &= capabilities.mariadb;
  }
  // Where both families are, a MariaDB client that looks for its own capabilities finds none.
  const candidates = mariadbOnly ? known : known.filter(({ family }) => family === 'mysql');
  const oldest = candidates.toSorted(
    (a, b) => versionNumber(a.serverVersion) - versionNumber(b.serverVersion),
  )[0];
  const { collation } = known[0];
  return {
    serverVersion: withSuffix(oldest.serverVersion),
    capabilities: {
      flags: (BASE | flags | (mariadbOnly && modern ? 0 : C.LONG_PASSWORD)) >>> 0,
      mariadb,
    },
    collation: known.every((one) => one.collation === collation) ? collation : UTF8MB4_GENERAL_CI,
  };
}

function withSuffix(serverVersion: string): string {
  return serverVersion.endsWith(SUFFIX) ? serverVersion : `${serverVersion}${SUFFIX}`;
}

/** `8.0.36` as 80036, `5.5.5-10.11.6-MariaDB` as 101106: how the servers' versioned comments count. */
export function versionNumber(serverVersion: string): number {
  const [major = 0, minor = 0, patch = 0] = (
    /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(plainVersion(serverVersion)) ?? []
  )
    .slice(1)
    .map((part) => Number(part ?? 0));
  return major * 10_000 + minor * 100 + patch;
}
