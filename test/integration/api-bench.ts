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
        more: [{ columns: [{ name: 'again', type: 'int' }], rows: [[3]] }],
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
  });
  const identity = {
    journal: 'j',
    user_uid: session.userUid,
    user_name: session.user,
    database_uid: fixedUid(200),
    database_name: 'shop',
  };
  await store.db
    .insertInto('idx_sessions')
    .values({
      ...identity,
      uid: session.uid,
      opened_us: openedUs,
      closed_us: session.closed ? openedUs + 9 : null,
      close_reason: session.closed ? 'client_quit' : null,
      close_detail: null,
      grant_uid: 'g',
      server_uid: 's',
      engine: 'postgres',
      backend_id: '4711',
      controls: ['read_only'],
      client_address: '192.0.2.1',
      client_port: 5000,
      tls: 'TLSv1.3',
      authentication: 'password',
      application_name: 'psql',
      statements: statements.length,
      errors: 0,
      bytes_in: 0,
      bytes_out: 0,
      used_statements: 0,
      used_bytes: 0,
      server_messages: 0,
      last_us: openedUs,
      first_seq: 0,
      last_seq: 9,
    })
    .execute();
  for (const statement of statements)
    await store.db
      .insertInto('idx_statements')
      .values({
        ...identity,
        session_uid: session.uid,
        ordinal: statement.ordinal,
        started_us: statement.startedUs ?? openedUs + statement.ordinal,
        kind: statement.kind ?? 'execute',
        verb: 'select',
        sql: statement.sql,
        fingerprint: 'f00d',
        tables: [statement.table ?? 'orders'],
        params: '["42", null]',
        tag: 'SELECT 2',
        rows: 2,
        bytes: 64,
        duration_us: statement.durationUs ?? 1500,
        first_row_us: 7,
        outcome: statement.error === undefined ? 'completed' : 'failed',
        decision: 'allowed',
        error_code: statement.error ?? null,
        error_message: statement.error === undefined ? null : 'it failed',
        transaction_status: 'I',
        xid: 771,
        truncated: false,
        redacted: false,
        start_seq: statement.ordinal * 2,
        start_block: 0,
        finish_seq: statement.ordinal * 2 + 1,
      })
      .execute();
}
