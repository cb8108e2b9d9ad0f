/** The API on a real store and a real socket, with people of every role, for the tests of this folder. */
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { SYSTEM } from '../../src/access/actor.ts';
import { emptyStore, openAccess, openTestStore, type AccessBench } from '../../src/access/testing.ts';
import { createApi } from '../../src/api/api.ts';
import type { ApiOptions, JournalReads } from '../../src/api/deps.ts';
import { uidFromBytes } from '../../src/base/ids.ts';
import { checkpointText, generateKey, signNote } from '../../src/journal/note.ts';
import { createPartition, monthOf } from '../../src/store/partitions.ts';
import type { Store } from '../../src/store/store.ts';

export const NOW_US = 1_700_000_000_000_000;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; `null` when it is none. */
  readonly json: Record<string, unknown> & {
    items: Record<string, unknown>[];
    next_cursor: string | null;
  };
}

export type Caller = 'anonymous' | 'connector' | 'other' | 'viewer' | 'admin' | 'key' | 'local';

export interface ApiBench extends AccessBench {
  readonly app: FastifyInstance;
  readonly base: string;
  readonly socketPath: string;
  /** By caller's name: uid of the user. */
  readonly uids: Record<Caller, string>;
  readonly journalReads: { checkpointed: boolean; proofs: number };
  readonly readiness: { ready: boolean; broken: boolean };
  call(caller: Caller, method: string, path: string, body?: unknown): Promise<Answer>;
  with(authorization: string | null, method: string, path: string, body?: unknown): Promise<Answer>;
  /** Ends the API, not the store. */
  stop(): Promise<void>;
}

export const USERS = { connector: 'alice', other: 'bob', viewer: 'vera', admin: 'root' } as const;

export { openTestStore };

export async function openApi(store: Store, options: Partial<ApiOptions> = {}): Promise<ApiBench> {
  await emptyStore(store);
  const bench = await openAccess(store);
  const tokens: Partial<Record<Caller, string>> = {};
  const uids = { anonymous: '', local: '', connector: '', other: '', viewer: '', admin: '', key: '' };
  for (const [caller, username] of Object.entries(USERS)) {
    const role = caller === 'other' ? 'connector' : caller;
    const user = await bench.access.users.create(SYSTEM, {
      username,
      password: `${username}-password`,
      roles: [role],
    });
    uids[caller as Caller] = user.uid;
  }
  /** Logged in when first needed: a password's hash takes its time. */
  const tokenOf = async (caller: Caller): Promise<string | undefined> => {
    if (tokens[caller] !== undefined || !Object.hasOwn(USERS, caller)) return tokens[caller];
    const username = USERS[caller as keyof typeof USERS];
    const login = { username, password: `${username}-password`, clientAddress: '127.0.0.1' };
    const { token } = await bench.access.logins.login(login);
    tokens[caller] = token;
    return token;
  };
  const { secret } = await bench.access.keys.create(SYSTEM, { userUid: uids.admin });
  tokens.key = secret;
  uids.key = uids.admin;

  const journalReads = { checkpointed: true, proofs: 0 };
  const readiness = { ready: true, broken: false };
  const deps = {
    access: bench.access,
    db: store.db,
    journal: journalOf(journalReads),
    ready: () =>
      readiness.broken
        ? Promise.reject(new TypeError('secret of the machine'))
        : Promise.resolve({
            ready: readiness.ready,
            checks: { journal: readiness.ready ? 'open' : 'failing' },
          }),
    metrics: { contentType: 'text/plain; version=0.0.4', read: () => Promise.resolve('dbw_sessions 1\n') },
    version: '0.0.0-test',
    logger: null,
  };
  const app = await createApi({ ...deps, options });
  const base = await app.listen({ port: 0, host: '127.0.0.1' });
  const local = await createApi({ ...deps, options: { ...options, localAdmin: true } });
  const socketPath = `/tmp/dbw-api-${process.pid}-${(app.server.address() as AddressInfo).port}.sock`;
  await local.listen({ path: socketPath });

  const send: ApiBench['with'] = async (authorization, method, path, body) => {
    const response = await fetch(base + path, {
      method,
      headers: {
        ...(authorization === null ? {} : { authorization }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return answer(response.status, response.headers, await response.text());
  };
  return {
    ...bench,
    app,
    base,
    socketPath,
    uids,
    journalReads,
    readiness,
    with: send,
    call: async (caller, method, path, body) => {
      if (caller === 'local') return overSocket(socketPath, method, path, body);
      const token = await tokenOf(caller);
      return send(token === undefined ? null : `Bearer ${token}`, method, path, body);
    },
    stop: async () => {
      await app.close();
      await local.close();
      await bench.close();
    },
  };
}

function answer(status: number, headers: Headers, text: string): Answer {
  const isJson = /json/.test(headers.get('content-type') ?? '');
  return { status, headers, text, json: (isJson && text !== '' ? JSON.parse(text) : null) as Answer['json'] };
}

/** `fetch` cannot do Unix sockets. */
export function overSocket(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { socketPath, method, path, headers: body === undefined ? {} : { 'content-type': 'application/json' } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const headers = new Headers(response.headers as Record<string, string>);
          resolve(answer(response.statusCode ?? 0, headers, Buffer.concat(chunks).toString()));
        });
      },
    );
    request.on('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A journal with one signed checkpoint and two recorded rows for every statement. */
function journalOf(state: { checkpointed: boolean; proofs: number }): JournalReads {
  const signer = generateKey('dbw.example/test');
  return {
    checkpoint: () =>
      Promise.resolve(
        state.checkpointed
          ? {
              note: signNote(checkpointText('dbw.example/test', 7, Buffer.alloc(32, 5)), signer),
              verifierKey: signer.verifier.text,
            }
          : null,
      ),
    proof: (statement) => {
      state.proofs++;
      return Promise.resolve({ statement: statement.uid, nested: { path: ['a', 'b'] } });
    },
    rows: (statement) =>
      Promise.resolve({
        columns: [
          { name: 'id', type: 'int4' },
          { name: 'id', type: 'text' },
        ],
        rows: [
          [1, 'one'],
          [2, null],
        ],
        truncated: statement.truncated,
      }),
    bodies: (session, events) =>
      Promise.resolve(events.map((event) => ({ of: session.uid, seq: event.seq }))),
  };
}

/** A uid that is the same in every run. */
export function fixedUid(n: number): string {
  const bytes = new Uint8Array(16);
  bytes[6] = 0x70;
  bytes[8] = 0x80;
  bytes[15] = n;
  return uidFromBytes(bytes);
}

export interface SeededStatement {
  readonly ordinal: number;
  readonly sql: string;
  readonly startedUs?: number;
  readonly error?: string;
  readonly table?: string;
  readonly kind?: string;
  readonly durationUs?: number;
}

/** One session with its statements, as the indexer would have put them. */
export async function seedSession(
  store: Store,
  session: { uid: string; userUid: string; user: string; openedUs?: number; closed?: boolean },
  statements: readonly SeededStatement[],
): Promise<void> {
  const openedUs = session.openedUs ?? NOW_US;
  await store.transaction(async (client) => {
    for (const table of ['idx_statements', 'idx_events'] as const)
      await createPartition(client, table, monthOf(NOW_US));
    await client.query(
      `insert into idx_sessions (uid, journal, opened_us, closed_us, close_reason, user_uid, user_name, database_uid,
        database_name, grant_uid, server_uid, engine, backend_id, controls, client_address, client_port, tls,
        authentication, application_name, last_us, first_seq, last_seq)
       values ($1, 'j', $2, $3, $4, $5, $6, $7, 'shop', 'g', 's', 'postgres', '4711', '{read_only}', '192.0.2.1', 5000,
        'TLSv1.3', 'password', 'psql', $2, 0, 9)`,
      [
        session.uid,
        openedUs,
        session.closed ? openedUs + 9 : null,
        session.closed ? 'client_quit' : null,
        session.userUid,
        session.user,
        fixedUid(200),
      ],
    );
    for (const statement of statements)
      await client.query(
        `insert into idx_statements (session_uid, ordinal, started_us, journal, user_name, user_uid, database_name,
          database_uid, kind, verb, sql, fingerprint, tables, params, tag, rows, bytes, duration_us, first_row_us, outcome,
          decision, error_code, error_message, transaction_status, xid, truncated, redacted, start_seq, finish_seq)
         values ($1, $2, $3, 'j', $4, $5, 'shop', $6, $7, 'select', $8, 'f00d', $9, '["42", null]', 'SELECT 2', 2, 64, $10,
          7, $11, 'allowed', $12, $13, 'I', 771, false, false, $14, $15)`,
        [
          session.uid,
          statement.ordinal,
          statement.startedUs ?? openedUs + statement.ordinal,
          session.user,
          session.userUid,
          fixedUid(200),
          statement.kind ?? 'execute',
          statement.sql,
          [statement.table ?? 'orders'],
          statement.durationUs ?? 1500,
          statement.error === undefined ? 'completed' : 'failed',
          statement.error ?? null,
          statement.error === undefined ? null : 'it failed',
          statement.ordinal * 2,
          statement.ordinal * 2 + 1,
        ],
      );
  });
}
