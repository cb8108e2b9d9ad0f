/**
 * HOSTILE.md 13 and what belongs to log-ins: upstreams that do not keep to the protocol, and what a stranger can learn before
 * proving who they are (nothing). A small hostile server stands in for the database.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { int32, message as m, RawClient } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { AuditedClient } from './support/audit.ts';
import { BareSocket, SSL_REQUEST, startup, typed } from './support/bare-socket.ts';
import { psql } from './support/psql.ts';

let server: PostgresServer;
let node: Dbwitness;
let access: Access;

beforeAll(async () => {
  [server, node] = await Promise.all([startPostgres({ version: '15' }), startDbwitness()]);
  access = await node.grantAccess(server);
});
afterAll(async () => {
  for (const one of hostile) one.close();
  await node?.stop();
  await server?.stop();
});

const hostile: Server[] = [];
const authentication = (code: number, rest = ''): Buffer => typed('R', int32(code), rest);
const SASL = authentication(10, 'SCRAM-SHA-256\0\0');
const OK = authentication(0);
const KEY = typed('K', int32(1), int32(2));
const READY = typed('Z', 'I');

/** A server that answers each thing it receives with the next step, and the name under which it can be reached. */
async function upstream(
  steps: readonly (Buffer | ((received: Buffer) => Buffer))[],
  fields: Readonly<Record<string, unknown>> = {},
): Promise<Access> {
  const listener = createServer((socket: Socket) => {
    let step = 0;
    socket.on('error', () => undefined);
    socket.on('data', (received) => {
      const answer = steps[step++];
      if (answer) socket.write(typeof answer === 'function' ? answer(received as Buffer) : answer);
    });
  });
  hostile.push(listener);
  await new Promise<void>((done) => {
    listener.listen(0, '127.0.0.1', () => done());
  });
  const { port } = listener.address() as { port: number };
  const database = await node.createDatabase(server, { port, ...fields });
  await node.createGrant(access.userUid, database.uid);
  return { ...access, database: database.name, databaseUid: database.uid };
}

/** The nonce in a client-first-message, whatever is around it. */
const nonceIn = (received: Buffer): string => /r=([^,\0]+)/.exec(received.toString('latin1'))?.[1] ?? '';

describe.skipIf(isMissing('postgres'))('13: an upstream', () => {
  const scram = (first: (nonce: string) => string): readonly (Buffer | ((received: Buffer) => Buffer))[] => [
    SASL,
    (received) => authentication(11, first(nonceIn(received))),
    Buffer.concat([OK, KEY, READY]),
  ];

  it.each([
    ['that asks for 2^31 − 1 iterations', scram((nonce) => `r=${nonce}x,s=AAAAAAAAAAAAAAAA,i=2147483647`)],
    ['with 10^18 iterations', scram((nonce) => `r=${nonce}x,s=AAAAAAAAAAAAAAAA,i=1000000000000000000`)],
    [
      'with a nonce of 3,000 bytes',
      scram((nonce) => `r=${nonce}${'x'.repeat(3000)},s=AAAAAAAAAAAAAAAA,i=4096`),
    ],
    ['with a nonce of its own', scram(() => 'r=mine,s=AAAAAAAAAAAAAAAA,i=4096')],
    ['with a salt of 60,000 bytes', scram((nonce) => `r=${nonce}x,s=${'A'.repeat(60_000)},i=4096`)],
    ['that lets us in without proof of its own', scram((nonce) => `r=${nonce}x,s=AAAAAAAAAAAAAAAA,i=4096`)],
    ['that says OK in mid-SCRAM', [SASL, Buffer.concat([OK, KEY, READY])]],
    [
      'with a wrong signature',
      [
        ...scram((nonce) => `r=${nonce}x,s=AAAAAAAAAAAAAAAA,i=4096`).slice(0, 2),
        authentication(12, `v=${'A'.repeat(43)}=`),
      ],
    ],
    ['that is ready without authentication', [Buffer.concat([KEY, READY])]],
    ['with an unknown method', [authentication(99)]],
    ['that sends rows at once', [typed('D', '\0\0')]],
    ['with a message of 2 GB', [Buffer.concat([Buffer.from('E'), int32(2 ** 31 - 1)])]],
    ['with a length of 3', [Buffer.concat([Buffer.from('R'), int32(3)])]],
    ['that is no database', [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')]],
  ])('%s: a clear error, and nobody is let in', async (_, steps) => {
    const target = await upstream(steps);
    await expect(RawClient.connect(target)).rejects.toThrow(/FATAL.*C08\w{3}/);
    expect(await served()).toBe(true);
  });

  it('whose ErrorResponse has no SQLSTATE, or none of its fields', async () => {
    for (const error of [typed('E', 'SFATAL\0Msorry\0\0'), typed('E', '\0'), typed('E', 'Cxx\0Msorry\0\0')]) {
      const target = await upstream([error]);
      await expect(RawClient.connect(target)).rejects.toThrow(/FATAL.*C[0-9A-Z]{5} .*refused the connection/);
    }
  });

  it('that answers byte by byte is served', async () => {
    const answer = Buffer.concat([OK, KEY, READY]);
    const listener = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        let at = 0;
        const next = (): void => {
          if (at === answer.length) return;
          socket.write(answer.subarray(at, ++at), () => setImmediate(next));
        };
        next();
      });
    });
    hostile.push(listener);
    await new Promise<void>((done) => {
      listener.listen(0, '127.0.0.1', () => done());
    });
    const { port } = listener.address() as { port: number };
    const database = await node.createDatabase(server, { port });
    await node.createGrant(access.userUid, database.uid);
    const client = await RawClient.connect({ ...access, database: database.name });
    client.destroy();
  });

  it('that refuses TLS, or sends bytes before it begins, where TLS is required', async () => {
    const refuses = await upstream([Buffer.from('N')], { ssl_mode: 'require' });
    await expect(RawClient.connect(refuses)).rejects.toThrow(/does not offer TLS/);
    const early = await upstream([Buffer.from('S\x15\x03\x01')], { ssl_mode: 'require' });
    await expect(RawClient.connect(early)).rejects.toThrow(/before TLS began/);
    const plain = await upstream([Buffer.concat([OK, KEY, READY])], { ssl_mode: 'require' });
    await expect(RawClient.connect(plain)).rejects.toThrow(/FATAL/);
  });

  it('that says nothing holds up nobody else', async () => {
    const silent = await upstream([]);
    const waiting = await Promise.all(
      Array.from({ length: 50 }, async () => BareSocket.connect(node.pgPort)),
    );
    const logins = Array.from({ length: 20 }, async () => RawClient.connect(silent).catch(() => null));
    expect(await served()).toBe(true);
    for (const bare of waiting) bare.destroy();
    for (const one of hostile) one.close();
    void logins; // they end with the node, or with their 30 s
  });

  it('that loses its way in the session ends it, recorded as such', async () => {
    const stray = await upstream([Buffer.concat([OK, KEY, READY]), typed('D', '\0\0')]);
    const client = await AuditedClient.connect(node, stray);
    client.raw.send(m.sync());
    await client.raw.untilClosed();
    expect(client.lines()).toEqual([expect.stringMatching(/^E 08P01 dbwitness cannot follow/)]);
    expect((await client.closed())['close_reason']).toBe('protocol_error');
  });
});

async function served(): Promise<boolean> {
  const client = await RawClient.connect(access);
  client.send(m.query('SELECT 1'));
  await client.until('Z');
  await client.end();
  return true;
}

describe.skipIf(isMissing('postgres'))('before anything is proved', () => {
  /** Everything that the server side said in a log-in with this name and password, without nonces, salts and names. */
  async function said(user: string, database: string, password: string): Promise<string> {
    const error = await RawClient.connect({ ...access, user, database, password }).then(
      () => 'let in',
      (reason: unknown) => String(reason),
    );
    const bare = await BareSocket.connect(node.pgPort);
    bare.send(startup({ user, database }));
    const { body } = await bare.message();
    bare.send(typed('p', 'SCRAM-SHA-256\0', int32(17), 'n,,n=,r=abcdefgh1'));
    const first = (await bare.message()).body.subarray(4).toString();
    bare.destroy();
    const shape = first.replace(/r=[^,]*/, 'r').replace(/s=([^,]*)/, (_, salt: string) => `s${salt.length}`);
    return `${body.toString('latin1')} ${shape} ${error}`.replaceAll(user, 'USER').replaceAll(database, 'DB');
  }

  it('unknown users, wrong passwords, disabled users and missing grants look the same', async () => {
    const lonely = await node.createUser();
    const disabled = await node.createUser();
    await node.api('PATCH', `/users/${disabled.uid}`, { disabled: true });
    const wrong = 'not the password';
    const base = await said(access.user, access.database, wrong);
    expect(base).toContain('28P01');
    expect(await said('nobody.at.all', access.database, wrong)).toBe(base);
    expect(await said(access.user, 'no_such_database', wrong)).toBe(base);
    expect(await said(lonely.username, access.database, wrong)).toBe(base);
    expect(await said(lonely.username, 'no_such_database', wrong)).toBe(base);
    expect(await said(disabled.username, access.database, disabled.password)).toBe(base);
    expect(await said('nobody.at.all', 'no_such_database', wrong)).toBe(base);
  });

  it('an unknown user has the same salt at each attempt, as a known one has', async () => {
    const salt = async (user: string): Promise<string> => {
      const bare = await BareSocket.connect(node.pgPort);
      bare.send(startup({ user, database: 'x' }));
      await bare.message();
      bare.send(typed('p', 'SCRAM-SHA-256\0', int32(17), 'n,,n=,r=abcdefgh1'));
      const first = (await bare.message()).body.toString();
      bare.destroy();
      return /s=([^,]*)/.exec(first)?.[1] ?? '';
    };
    for (const user of ['somebody.unknown', access.user]) expect(await salt(user)).toBe(await salt(user));
    expect(await salt('somebody.unknown')).not.toBe(await salt('somebody.else'));
  });

  it('with the proof, a missing database and a missing grant still look the same', async () => {
    const other = await node.createDatabase(server);
    const answers = await Promise.all(
      [other.name, 'no_such_database'].map(async (database) =>
        RawClient.connect({ ...access, database }).then(
          () => 'let in',
          (reason: unknown) => String(reason).replaceAll(database, 'DB'),
        ),
      ),
    );
    expect(answers[0]).toBe(answers[1]);
    // Behind AuthenticationOk, as from the server: libpq tries again without TLS when it is refused before.
    expect(answers[0]).toMatch(
      /behind AuthenticationOk.*there is no database "DB" that you have a grant for/,
    );
    const told = await psql({ ...access, database: 'no_such_database' }, 'SELECT 1', { PGSSLMODE: 'prefer' });
    expect(told.stderr.match(/there is no database/g)).toHaveLength(1);
    // The auditor sees the difference.
    const reasons = await waitFor('both refusals in the index', async () => {
      const { items } = await node.api<{ items: { summary: string; kind: string }[] }>(
        'GET',
        '/events?limit=100',
      );
      const found = items.map((one) => one.summary).filter((one) => /no_grant|unknown_database/.test(one));
      return found.length >= 2 ? found : null;
    });
    expect(reasons.some((one) => one.includes('no_grant'))).toBe(true);
    expect(reasons.some((one) => one.includes('unknown_database'))).toBe(true);
  });

  it('API keys are passwords, until they are revoked', async () => {
    const token = await node.login(access.user, access.password);
    const key = await node.api<{ uid: string; key: string }>('POST', '/keys', { name: 'ci' }, token);
    const withKey = { ...access, password: key.key };
    const client = await AuditedClient.connect(node, withKey);
    expect(await client.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
    expect((await client.session())['authentication']).toBe('api_key');
    await expect(RawClient.connect({ ...withKey, password: `${key.key}x` })).rejects.toThrow(/28P01/);
    await node.api('DELETE', `/keys/${key.uid}`);
    await client.raw.untilClosed();
    expect(client.lines().at(-1)).toMatch(/^E 57P01 .*API key.*revoked/);
    await expect(RawClient.connect(withKey)).rejects.toThrow(/28P01/);
    // Their owner's password is another thing.
    await (await RawClient.connect(access)).end();
  });

  it('a password in clear is not asked for, inside TLS or outside', async () => {
    const bare = await BareSocket.connect(node.pgPort);
    bare.send(SSL_REQUEST);
    await bare.take(1);
    await bare.upgrade();
    bare.send(startup({ user: access.user, database: access.database }));
    expect((await bare.message()).body.readInt32BE(0)).toBe(10);
    bare.send(typed('p', `${access.password}\0`));
    expect(await bare.fatal()).toMatchObject({ C: '08P01' });
  });
});
