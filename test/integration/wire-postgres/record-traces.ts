/**
 * Records the golden traces: real clients talk to a real PostgreSQL 15 through a TCP tap.
 *
 *   node test/integration/wire-postgres/record-traces.ts
 *
 * writes src/wire/postgres/testdata/traces.json: a list of connections, each the bytes of both directions in hex. Run it
 * again only to add a scenario; the traces are the memory of what servers and drivers really sent.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import pg from 'pg';
import postgres from 'postgres';
import { encodeCopyData, encodeCopyDone, encodeCopyFail } from '../../../src/wire/postgres/copy.ts';
import * as frontend from '../../../src/wire/postgres/frontend.ts';
import {
  encodeCancelRequest,
  encodeEncryptionRequest,
  encodeStartupMessage,
  PROTOCOL_3_2,
} from '../../../src/wire/postgres/startup.ts';
import { ByteWriter } from '../../../src/base/bytes.ts';
import { requirePath, startPostgres, type PostgresServer } from '../../servers/index.ts';
import { Tap } from '../tap.ts';
import { WireClient, type ConnectOptions } from './client.ts';
import type { Trace } from './traces.ts';
import { VALUES } from './values.ts';

const run = promisify(execFile);
const PASSWORD = 'pencil';

async function main(): Promise<void> {
  const server = await startPostgres({
    version: '15',
    settings: { password_encryption: 'scram-sha-256', max_wal_senders: '4' },
    hba: [
      'local all all trust',
      'host all md5_user 127.0.0.1/32 md5',
      'host all clear_user 127.0.0.1/32 password',
      'host all scram_user 127.0.0.1/32 scram-sha-256',
      'host replication postgres 127.0.0.1/32 trust',
      'host all all 127.0.0.1/32 trust',
    ],
    initSql: `create role scram_user login password '${PASSWORD}';
      set password_encryption = 'md5';
      create role md5_user login password '${PASSWORD}';
      create role clear_user login password '${PASSWORD}';
      create table items (id int primary key, name text, price numeric(10,2), created timestamptz default '2024-01-01 00:00:00+00');
      insert into items select n, 'item ' || n, n * 1.5 from generate_series(1, 20) n;
      grant all on items to public;`,
  });
  const traces: Trace[] = [];
  try {
    for (const [name, authentication, scenario] of SCENARIOS) {
      const tap = new Tap(server.port);
      await scenario(await tap.listen(), server);
      tap.close();
      for (const [i, { client, upstream }] of tap.connections.entries())
        traces.push({
          name: tap.connections.length === 1 ? name : `${name}, connection ${i + 1}`,
          authentication: i === 0 ? authentication : 'trust',
          client: Buffer.concat(client).toString('hex'),
          upstream: Buffer.concat(upstream).toString('hex'),
        });
    }
  } finally {
    await server.stop();
  }
  const file = new URL('../../../src/wire/postgres/testdata/traces.json', import.meta.url);
  writeFileSync(file, `[\n${traces.map((trace) => JSON.stringify(trace)).join(',\n')}\n]\n`);
}

type Scenario = (port: number, server: PostgresServer) => Promise<void>;

const PSQL_SCRIPT = String.raw`
select 1 as one, 'é' as two, null as three;
select 1; select 2; insert into items values (100, 'a;b', 1);
do $$ begin raise notice 'hello %', 1; end $$;
select * from nowhere;
begin; select 1/0; rollback;
copy items to stdout;
copy items (id, name) from stdin;
200	two hundred
201	\N
\.
listen channel; notify channel, 'payload';
;
/* only a comment */;
set client_encoding to latin1; select 'x';
\d items
`;

const psql: Scenario = async (port) => {
  const child = run(
    requirePath('psql'),
    ['-X', '-q', '-f', '-', `host=127.0.0.1 port=${port} user=scram_user dbname=postgres sslmode=prefer`],
    {
      env: { ...process.env, PGPASSWORD: PASSWORD },
    },
  );
  child.child.stdin?.end(PSQL_SCRIPT);
  await child;
};

const pgbench =
  (mode: string): Scenario =>
  async (port, server) => {
    await run(requirePath('pgbench'), [
      '-i',
      '-s',
      '1',
      '-q',
      '-h',
      server.socketDir,
      '-p',
      String(server.port),
      '-U',
      'postgres',
      'postgres',
    ]);
    const target = ['-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', 'postgres'];
    await run(requirePath('pgbench'), ['-n', '-M', mode, '-c', '1', '-t', '3', ...target], {
      env: { ...process.env, PGSSLMODE: 'disable' },
    });
  };

const nodePostgres: Scenario = async (port) => {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'md5_user',
    password: PASSWORD,
    database: 'postgres',
  });
  await client.connect();
  await client.query('select * from items where id = $1 or name = any($2)', [1, ['item 2', null]]);
  for (const id of [3, 4])
    await client.query({ name: 'by id', text: 'select name from items where id = $1::int', values: [id] });
  await client.query('select $1::bytea, $2::json, $3::timestamptz', [
    Buffer.from([0, 255]),
    { a: 1 },
    new Date(0),
  ]);
  await client.query('select $1::int', ['no number']).catch(() => undefined);
  await client.query('').catch(() => undefined);
  await client.end();
};

const postgresJs: Scenario = async (port) => {
  const sql = postgres({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    max: 1,
    onnotice: () => undefined,
  });
  await sql`select ${'text'}::text as a, ${7}::int as b, ${null}::int as c`;
  for await (const batch of sql`select * from generate_series(1, 7) n`.cursor(3)) void batch;
  await sql.begin(async (tx) => {
    await Promise.all([tx`select 1`, tx`select 2`, tx`insert into items (id, name) values (300, ${'x'})`]);
  });
  await sql`select 1/0`.catch(() => undefined);
  await sql.end();
};

async function wire(port: number, options: Partial<ConnectOptions> = {}): Promise<WireClient> {
  return WireClient.connect({ host: '127.0.0.1', port, user: 'postgres', ...options });
}

const everyType: Scenario = async (port) => {
  const client = await wire(port, { parameters: { TimeZone: 'UTC' } });
  for (const [type, literals] of Object.entries(VALUES))
    await client.extended(`select (${literals[0]})::${type}, (${literals[literals.length - 1]})::${type}`, 1);
  await client.close();
};

const pipeline: Scenario = async (port) => {
  const client = await wire(port, { user: 'clear_user', password: PASSWORD });
  const bind = {
    statement: 's',
    formats: [1],
    parameters: [Buffer.from([0, 0, 0, 2])],
    resultFormats: [0, 1],
  };
  client.send((out) => {
    frontend.encodeParse(out, {
      name: 's',
      text: 'select id, name from items where id > $1 order by id',
      types: [23],
    });
    frontend.encodeDescribe(out, frontend.TARGET_STATEMENT, 's');
    frontend.encodeBind(out, { portal: 'p', ...bind });
    frontend.encodeExecute(out, 'p', 2);
    frontend.encodeExecute(out, 'p', 3);
    frontend.encodeFlush(out);
    frontend.encodeExecute(out, 'p', 0);
    frontend.encodeClose(out, frontend.TARGET_PORTAL, 'p');
    frontend.encodeExecute(out, 'p', 0); // fails; the rest is skipped
    frontend.encodeBind(out, { portal: 'q', ...bind });
    frontend.encodeSync(out);
    frontend.encodeParse(out, { name: '', text: '', types: [] });
    frontend.encodeBind(out, { portal: '', statement: '', formats: [], parameters: [], resultFormats: [] });
    frontend.encodeExecute(out, '');
    frontend.encodeParse(out, { name: '', text: 'set datestyle to iso', types: [] });
    frontend.encodeBind(out, { portal: '', statement: '', formats: [], parameters: [], resultFormats: [] });
    frontend.encodeDescribe(out, frontend.TARGET_PORTAL, '');
    frontend.encodeExecute(out, '');
    frontend.encodeClose(out, frontend.TARGET_STATEMENT, 's');
    frontend.encodeSync(out);
    // lower(text), by the fast path; then with a NULL
    const argument = { functionOid: 870, formats: [0], resultFormat: 0 };
    frontend.encodeFunctionCall(out, { ...argument, parameters: [Buffer.from('ABC')] });
    frontend.encodeFunctionCall(out, { ...argument, parameters: [null] });
    frontend.encodeQuery(out, 'copy items (id) from stdin (format binary)');
    encodeCopyData(out, Buffer.from('PGCOPY\n'));
    encodeCopyFail(out, 'changed my mind');
    frontend.encodeQuery(out, 'copy items (id, name) from stdin');
    encodeCopyData(out, Buffer.from('400\tfour'));
    encodeCopyData(out, Buffer.from(' hundred\n'));
    encodeCopyDone(out);
    frontend.encodeQuery(out, 'copy (select 1, 2) to stdout (format binary)');
  });
  for (let i = 0; i < 7; i++) await client.untilReady();
  await client.close();
};

const negotiation: Scenario = async (port) => {
  const client = await wire(port, { protocol: PROTOCOL_3_2, parameters: { '_pq_.something': 'x' } });
  await client.extended('select 1', 0);
  await client.close();
};

const raw = async (port: number, ...packets: ((out: ByteWriter) => void)[]): Promise<void> => {
  const socket = connect(port, '127.0.0.1');
  for (const [i, write] of packets.entries()) {
    const out = new ByteWriter(64);
    write(out);
    socket.write(out.copy());
    if (i < packets.length - 1)
      await new Promise<void>((resolve) => {
        socket.once('data', () => resolve());
      });
  }
  await new Promise<void>((resolve) => {
    socket.on('close', () => resolve()).resume();
  });
};

const refusedEncryption: Scenario = (port) =>
  raw(
    port,
    (out) => encodeEncryptionRequest(out, 'ssl'),
    (out) =>
      encodeStartupMessage(out, {
        protocol: 0x0003_0000,
        parameters: new Map([
          ['user', 'postgres'],
          ['database', 'missing'],
        ]),
      }),
  );

const cancel: Scenario = (port) =>
  raw(port, (out) => encodeCancelRequest(out, { processId: 1, key: Buffer.from([1, 2, 3, 4]) }));

const replication: Scenario = async (port) => {
  const client = await wire(port, { parameters: { replication: 'true' } });
  client.send((out) => frontend.encodeQuery(out, 'IDENTIFY_SYSTEM'));
  const row = (await client.untilReady()).find(({ type }) => type === 'D');
  const position = /([0-9A-F]+\/[0-9A-F]+)/.exec(row?.body.toString('latin1') ?? '')?.[1] ?? '0/1000000';
  client.send((out) => {
    frontend.encodeQuery(out, `START_REPLICATION PHYSICAL ${position.replace(/[0-9A-F]{6}$/, '000000')}`);
    encodeCopyDone(out);
  });
  await client.untilReady();
  await client.close();
};

const SCENARIOS: readonly [name: string, authentication: Trace['authentication'], scenario: Scenario][] = [
  ['psql', 'scram', psql],
  ['pgbench simple', 'trust', pgbench('simple')],
  ['pgbench extended', 'trust', pgbench('extended')],
  ['pgbench prepared', 'trust', pgbench('prepared')],
  ['node-postgres', 'md5', nodePostgres],
  ['postgres.js', 'trust', postgresJs],
  ['every type in binary', 'trust', everyType],
  ['pipeline', 'cleartext', pipeline],
  ['protocol 3.2 to a server of 3.0', 'trust', negotiation],
  ['encryption refused, then a database that is not there', 'trust', refusedEncryption],
  ['cancel', 'trust', cancel],
  ['replication', 'trust', replication],
];

await main();
