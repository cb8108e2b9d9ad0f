/** Logging in to real servers with every authentication method, outside TLS and inside, compressed and not. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Capability } from '../../../src/wire/mysql/protocol.ts';
import { decodeSessionChanges, type SessionChange } from '../../../src/wire/mysql/session-track.ts';
import { decodeRows } from '../../../src/wire/mysql/values/decode.ts';
import { isMariadb, plainVersion } from '../../../src/wire/mysql/handshake.ts';
import { ed25519PublicKey } from '../../../src/wire/mysql/ed25519.ts';
import { CURSOR_TYPE_READ_ONLY, encodeExecute } from '../../../src/wire/mysql/parameters.ts';
import { encodeFetch, encodeSetOption, encodeTextCommand } from '../../../src/wire/mysql/commands.ts';
import { decodeEof, terminatorKind } from '../../../src/wire/mysql/responses.ts';
import { Command, Status } from '../../../src/wire/mysql/protocol.ts';
import { isMissing, type MysqlServer, startMariadb, startMysql } from '../../servers/index.ts';
import { type ConnectOptions, WireClient, type WireResult } from './client.ts';

const PASSWORD = 'pencil and é';
const rowsOf = ({ description, rows }: WireResult): unknown => decodeRows(description, rows).rows;

function methodsOf(
  get: () => MysqlServer,
): (options: Partial<ConnectOptions> & { user: string }) => Promise<string> {
  return async (options) => {
    const client = await WireClient.connect({ port: get().port, password: PASSWORD, ...options });
    const [result] = await client.query('select current_user()');
    expect(rowsOf(result)).toEqual([[`${options.user}@%`]]);
    await client.close();
    return client.method;
  };
}

describe.skipIf(isMissing('mysql-9.7'))('MySQL 9.7', () => {
  let server: MysqlServer;
  const logIn = methodsOf(() => server);
  beforeAll(async () => {
    server = await startMysql({
      tls: true,
      settings: { log_bin: 'binlog', gtid_mode: 'ON', enforce_gtid_consistency: 'ON' },
      initSql: `create user sha2@'%' identified with caching_sha2_password by '${PASSWORD}';
        create user fast@'%' identified with caching_sha2_password by '${PASSWORD}';
        create user sha256@'%' identified with sha256_password by '${PASSWORD}';
        create user nobody@'%' identified by '';
        grant all on test.* to sha2@'%'`,
    });
  });
  afterAll(() => server?.stop());

  it('caching_sha2_password in full by RSA, then fast, without a password at all', async () => {
    expect(await logIn({ user: 'sha2' })).toBe('caching_sha2_password');
    expect(await logIn({ user: 'sha2' })).toBe('caching_sha2_password');
    expect(await logIn({ user: 'nobody', password: '' })).toBe('caching_sha2_password');
  });

  it('caching_sha2_password in full inside TLS', async () => {
    expect(await logIn({ user: 'fast', tls: true })).toBe('caching_sha2_password');
  });

  it('sha256_password by RSA and inside TLS', async () => {
    expect(await logIn({ user: 'sha256' })).toBe('sha256_password');
    expect(await logIn({ user: 'sha256', tls: true })).toBe('sha256_password');
  });

  it('a wrong password is refused', async () => {
    const wrong = WireClient.connect({ port: server.port, user: 'sha2', password: 'wrong' });
    await expect(wrong).rejects.toMatchObject({ number: 1045, sqlState: '28000' });
  });

  it.each([
    ['zlib', Capability.COMPRESS],
    ['zstd', Capability.ZSTD_COMPRESSION_ALGORITHM],
  ])('compressed with %s, over frame limits', async (_, flags) => {
    const client = await WireClient.connect({
      port: server.port,
      user: 'root',
      password: server.password,
      flags,
    });
    const [result] = await client.query("select repeat('ab', 9000000), 7");
    const [[text, seven]] = rowsOf(result) as [[string, number]];
    expect([text.length, seven]).toEqual([18_000_000, 7]);
    await client.close();
  });

  it('a statement and a row of more than 16 MiB come in several packets', async () => {
    await server.query('set global max_allowed_packet = 67108864');
    const client = await WireClient.connect({ port: server.port, user: 'root', password: server.password });
    const text = 'x'.repeat(17_000_000);
    const [result] = await client.query(`select '${text}' as a, length('${text.slice(0, 10)}') as b`);
    const [[value, ten]] = rowsOf(result) as [[string, number]];
    expect([value === text, ten]).toEqual([true, 10]);
    await client.close();
  });

  it('tracks the session: schema, variables, transaction, GTIDs', async () => {
    const client = await WireClient.connect({ port: server.port, user: 'root', password: server.password });
    await client.query(
      "set session_track_state_change = 1, session_track_transaction_info = 'CHARACTERISTICS'",
    );
    expect(await changes(client, 'use test')).toEqual([
      { kind: 'schema', name: 'test' },
      { kind: 'state', changed: true },
    ]);
    expect(await changes(client, 'set autocommit = 0')).toEqual(
      expect.arrayContaining([{ kind: 'system-variable', name: 'autocommit', value: 'OFF' }]),
    );
    const begun = await changes(client, 'start transaction read only');
    expect(begun).toEqual(
      expect.arrayContaining([
        { kind: 'transaction-characteristics', statements: 'START TRANSACTION READ ONLY;' },
        { kind: 'transaction-state', state: 'T_______' },
      ]),
    );
    await client.query("rollback; set autocommit = 1, session_track_gtids = 'OWN_GTID'");
    expect(await changes(client, 'create table t (a int)')).toEqual(
      expect.arrayContaining([
        { kind: 'gtids', gtids: expect.stringMatching(/^[0-9a-f-]{36}:\d+$/) as string },
      ]),
    );
    await client.close();
  });
});

describe.skipIf(isMissing('mariadb')).each(['10.11', '11.8'] as const)('MariaDB %s', (version) => {
  const missing = version === '11.8' && isMissing('mariadb-11.8');
  let server: MysqlServer;
  const logIn = methodsOf(() => server);
  beforeAll(async () => {
    if (missing) return;
    server = await startMariadb({
      version,
      initSql: `create user native@'%' identified by '${PASSWORD}'; install soname 'auth_ed25519';
        create user ed@'%' identified via ed25519 using password('${PASSWORD}')`,
    });
  });
  afterAll(() => server?.stop());

  it.skipIf(missing)('is seen in its greeting', async () => {
    const client = await WireClient.connect({ port: server.port, user: 'native', password: PASSWORD });
    expect(isMariadb(client.greeting!)).toBe(true);
    expect(plainVersion(client.greeting!.serverVersion)).toMatch(
      version === '10.11' ? /^10\.11\./ : /^11\.8\./,
    );
    await client.close();
  });

  it.skipIf(missing)('mysql_native_password and client_ed25519', async () => {
    expect(await logIn({ user: 'native' })).toBe('mysql_native_password');
    expect(await logIn({ user: 'ed' })).toBe('client_ed25519');
    const [{ key }] = await server.query<{ key: string }>(
      "select json_value(priv, '$.authentication_string') as `key` from mysql.global_priv where user = 'ed'",
    );
    expect(ed25519PublicKey(PASSWORD).toString('base64').replace('=', '')).toBe(key);
    const wrong = WireClient.connect({ port: server.port, user: 'ed', password: 'wrong' });
    await expect(wrong).rejects.toMatchObject({ number: 1045 });
  });

  it.skipIf(missing)('compressed', async () => {
    expect(await logIn({ user: 'native', flags: Capability.COMPRESS })).toBe('mysql_native_password');
  });

  it.skipIf(missing)('several results, with the EOF packets of old', async () => {
    const client = await WireClient.connect({
      port: server.port,
      user: 'root',
      password: server.password,
      database: 'test',
      withoutFlags: Capability.DEPRECATE_EOF,
    });
    const results = await client.query("select 1 as a; select 'x' as b, null as c; do 1");
    expect(results.map(rowsOf)).toEqual([[[1]], [['x', null]], []]);
    await client.query('create procedure p() begin select 1; select 2; end');
    expect((await client.query('call p()')).map(rowsOf)).toEqual([[[1]], [[2]], []]);
    await client.close();
  });

  it.skipIf(missing)('a cursor: rows are fetched, the last one says so', async () => {
    const client = await WireClient.connect({
      port: server.port,
      user: 'root',
      password: server.password,
      database: 'test',
      withoutFlags: Capability.DEPRECATE_EOF,
    });
    const { statementId } = await client.prepare('select seq from seq_1_to_5');
    client.send((out) =>
      encodeExecute(
        out,
        { statementId, flags: CURSOR_TYPE_READ_ONLY, parameters: [], newTypes: true },
        client.capabilities,
      ),
    );
    // With a cursor there are no rows yet: columns, and the EOF behind them says that it is open.
    const opened: Buffer[] = [];
    for (let i = 0; i < 3; i++) opened.push((await client.packet()).payload);
    expect(decodeEof(opened[2], 0, 5).status & Status.CURSOR_EXISTS).not.toBe(0);
    const fetched: number[] = [];
    for (;;) {
      client.send((out) => encodeFetch(out, statementId, 2));
      let rows = 0;
      let status = 0;
      for (;;) {
        const { payload } = await client.packet();
        if (terminatorKind(payload[0], payload.length, false) === 'eof') {
          ({ status } = decodeEof(payload, 0, payload.length));
          break;
        }
        rows++;
      }
      fetched.push(rows);
      if ((status & Status.LAST_ROW_SENT) !== 0) break;
    }
    expect(fetched.reduce((sum, rows) => sum + rows, 0)).toBe(5);
    await client.close();
  });

  it.skipIf(missing)('commands that are answered by OK, EOF or ERR', async () => {
    const client = await WireClient.connect({ port: server.port, user: 'root', password: server.password });
    client.send((out) => encodeTextCommand(out, Command.INIT_DB, 'test'));
    const ok = await client.packet();
    expect(ok.payload[0]).toBe(0);
    client.send((out) => encodeSetOption(out, 1));
    expect((await client.packet()).payload[0]).toBe(0xfe);
    await expect(client.query('select 1; select 2')).rejects.toMatchObject({
      number: 1064,
      sqlState: '42000',
    });
    client.send((out) => encodeTextCommand(out, Command.INIT_DB, 'missing'));
    expect((await client.packet()).payload[0]).toBe(0xff);
    await client.close();
  });
});

async function changes(client: WireClient, sql: string): Promise<SessionChange[]> {
  const [{ ok, okPayload }] = await client.query(sql);
  return ok === null || okPayload === null ? [] : decodeSessionChanges(okPayload, ok);
}
