/**
 * What `src/sql/postgres` says of SQL, against what real servers do with it: how many statements a Query has, where
 * strings end under the session's settings, and which functions there are to know about.
 */
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LexicalSettings } from '../../src/sql/dialect.ts';
import { loadPostgresDialect, type PostgresDialect } from '../../src/sql/postgres/dialect.ts';
import { effectOf, HARMLESS_VOLATILE, READ_ONLY_OIDS } from '../../src/sql/postgres/functions.ts';
import { type PostgresMajor, type PostgresServer, startPostgres } from '../servers/index.ts';

let dialect: PostgresDialect;
beforeAll(async () => {
  dialect = await loadPostgresDialect();
});
afterAll(() => dialect.close());

/** The few bytes of protocol that a Query needs, so that its text can be any bytes. */
class RawSession {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on('close', () => this.#wake());
  }

  static async open(server: PostgresServer): Promise<RawSession> {
    const session = new RawSession(connect(`${server.socketDir}/.s.PGSQL.${server.port}`));
    const parameters = Buffer.from(`user\0${server.user}\0database\0postgres\0\0`);
    const head = Buffer.alloc(8);
    head.writeInt32BE(8 + parameters.length, 0);
    head.writeInt32BE(196_608, 4);
    session.#socket.write(Buffer.concat([head, parameters]));
    await session.#untilReady();
    return session;
  }

  /** Types of the messages that answered: C CommandComplete, I EmptyQueryResponse, E ErrorResponse. */
  async query(text: Buffer | string): Promise<string> {
    const body = Buffer.concat([Buffer.from(text), Buffer.of(0)]);
    const head = Buffer.alloc(5);
    head.write('Q', 0);
    head.writeInt32BE(4 + body.length, 1);
    this.#socket.write(Buffer.concat([head, body]));
    return await this.#untilReady();
  }

  close(): void {
    this.#socket.destroy();
  }

  async #untilReady(): Promise<string> {
    let types = '';
    for (;;) {
      while (this.#received.length >= 5 && this.#received.length > this.#received.readInt32BE(1)) {
        const type = String.fromCharCode(this.#received[0]);
        this.#received = this.#received.subarray(1 + this.#received.readInt32BE(1));
        if (type === 'Z') return types;
        if ('CIE'.includes(type)) types += type;
      }
      if (this.#socket.destroyed) throw new Error('the server closed the connection');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

const TEXTS: readonly string[] = [
  'select 1',
  'select 1;',
  ' ; ;',
  '',
  '-- x',
  '/* /* ; */ ; */',
  'select 1; select 2',
  ';;select 1;;select 2;;',
  "select ';'; select E'\\';'; select $$;$$, $a$;$$;$a$",
  'select 1 as ";"; select 2 as U&"\\003b;"',
  "select 'a'\n';'; select 1",
  "select E'a'\n'\\';'; select 1",
  "select E'a' -- ;\n '\\';'; select 1",
  "select b'1', x'f'; select n';'",
  'select 1 -- ;\n; select 2',
  'select 1 /* ; */; select 2',
  'select 2 +/* ; */ 3; select 1',
  'begin; select 1; end',
  'begin; savepoint a; rollback to a; commit',
  'create temp table if not exists r (a int); create or replace rule x as on insert to r do also (select 1; select 2); drop table r',
  'create or replace function pg_temp.f() returns int language sql as $$ select 1; select 2; $$; select pg_temp.f()',
  'create or replace function pg_temp.g() returns int language sql begin atomic select 1; select case when true then 2 end; end; select 1',
  'create or replace procedure pg_temp.h() language sql begin atomic end; select 1; select 2',
  'create or replace function pg_temp.i() returns int begin atomic select 1 as end; select 2 end; end; select 1',
  'create or replace function pg_temp.j() returns int set search_path to begin begin atomic select 1; end; select 1',
  'create temp table if not exists begin (atomic int); select begin atomic from begin; drop table begin',
  'select 1 end; select 2',
  'select 1 as begin; select 2 atomic',
  'prepare p as select 1; execute p; deallocate p',
  'do $$ begin perform 1; perform 2; end $$; select 1',
  'declare c cursor with hold for select 1; fetch c; close c',
  'explain select 1; show all; set work_mem = 4096; reset work_mem',
  'values (1); table pg_am; (select 1)',
  "select '\\'; select 2",
];

describe('split, against a server', () => {
  let server: PostgresServer;
  let session: RawSession;
  beforeAll(async () => {
    server = await startPostgres({ version: '15' });
    session = await RawSession.open(server);
  });
  afterAll(async () => {
    session?.close();
    await server?.stop();
  });

  const expectSame = async (text: Buffer, settings?: LexicalSettings): Promise<void> => {
    const answer = await session.query(text);
    const spans = dialect.split(text, 0, text.length, settings);
    expect(answer, text.toString('latin1')).toBe('C'.repeat(spans.length) || 'I');
  };

  it.each(TEXTS)('%j', async (text) => {
    await expectSame(Buffer.from(text));
  });

  it('without standard_conforming_strings', async () => {
    const settings = { standardConformingStrings: false, clientEncoding: 'UTF8' };
    await session.query('set standard_conforming_strings = off');
    for (const text of [
      "select '\\'; select 2; --'",
      "select 'a'\n'\\';'; select 1",
      "select b'1''\\';'; select 2",
      "select '\\\\'; select 2",
    ]) {
      const answer = await session.query(text);
      const bytes = Buffer.from(text);
      if (!answer.includes('E'))
        expect(answer).toBe('C'.repeat(dialect.split(bytes, 0, bytes.length, settings).length));
    }
    await expectSame(Buffer.from("select '\\'; select 2; --'"), settings);
    await session.query('reset standard_conforming_strings');
  });

  // (With a client-only encoding, the server accepts no \' at all: backslash_quote = safe_encoding.)
  it.each([
    ['SJIS', [0x95, 0x5c]],
    ['SHIFT_JIS_2004', [0x95, 0x5c]],
    ['BIG5', [0xa5, 0x5c]],
    ['GBK', [0x95, 0x5c]],
    ['UHC', [0xb0, 0xa1]],
    ['GB18030', [0x95, 0x5c]],
    ['GB18030', [0x81, 0x30, 0x81, 0x30]],
    ['EUC_JP', [0xc9, 0xbd]],
    ['LATIN1', [0xe9]],
  ])('in %s', async (clientEncoding, character) => {
    expect(await session.query(`set client_encoding = '${clientEncoding}'`)).toBe('C');
    const settings = { standardConformingStrings: true, clientEncoding };
    const with_ = (text: string): Buffer =>
      Buffer.concat(
        text
          .split('#')
          .flatMap((part, i) =>
            i === 0 ? [Buffer.from(part)] : [Buffer.from(character), Buffer.from(part)],
          ),
      );
    for (const text of [
      "select E'#'; select 2; --'",
      'select \'#;\' as "#;"; select $#$;$#$',
      "select E'#\\\\'; select 1",
    ])
      await expectSame(with_(text), settings);
    await session.query('reset client_encoding');
  });
});

const majors: readonly PostgresMajor[] =
  process.env['DBW_TEST_NIGHTLY'] === '1' ? ['13', '14', '15', '16', '17', '18'] : ['15', '18'];

describe.each(majors)('functions of PostgreSQL %s', (version) => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres({ version });
  });
  afterAll(() => server?.stop());

  it('each volatile one is known to write or to be harmless, and not both', async () => {
    const rows = await server.query<{ proname: string }>(
      "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'",
    );
    const names = rows.map((row) => row.proname);
    expect(names.length).toBeGreaterThan(200);
    expect(names.filter((name) => effectOf(name) === undefined && !HARMLESS_VOLATILE.has(name))).toEqual([]);
    expect(names.filter((name) => effectOf(name) !== undefined && HARMLESS_VOLATILE.has(name))).toEqual([]);
  });

  it('those that FunctionCall may name are large objects being read', async () => {
    const rows = await server.query<{ proname: string }>(
      `SELECT DISTINCT proname FROM pg_proc WHERE oid IN (${[...READ_ONLY_OIDS].join(',')}) ORDER BY 1`,
    );
    expect(rows.map((row) => row.proname)).toEqual([
      'lo_close',
      'lo_get',
      'lo_lseek',
      'lo_lseek64',
      'lo_open',
      'lo_tell',
      'lo_tell64',
      'loread',
    ]);
  });
});
