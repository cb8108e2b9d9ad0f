/**
 * Records the golden traces: real clients talk to real MariaDB and MySQL servers through a TCP tap.
 *
 *   node test/integration/wire-mysql/record-traces.ts
 *
 * writes src/wire/mysql/testdata/traces.json: a list of connections, each the bytes of both directions in hex. Run it
 * again only to add a scenario; the traces are the memory of what servers and drivers really sent.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mariadb from 'mariadb';
import mysql2 from 'mysql2/promise';
import {
  encodeBareCommand,
  encodeChangeUser,
  encodeFetch,
  encodeFieldList,
  encodeIdCommand,
  encodeLongData,
  encodeSetOption,
  encodeTextCommand,
} from '../../../src/wire/mysql/commands.ts';
import { ColumnType, CURSOR_TYPE_READ_ONLY, encodeExecute } from '../../../src/wire/mysql/parameters.ts';
import { Capability, Command, MariadbCapability } from '../../../src/wire/mysql/protocol.ts';
import { nativeResponse } from '../../../src/wire/mysql/scramble.ts';
import { type MysqlServer, startMariadb, startMysql } from '../../servers/index.ts';
import { Tap } from '../tap.ts';
import { WireClient } from './client.ts';
import { type Trace, TRACES_FILE } from './traces.ts';

const run = promisify(execFile);
const PASSWORD = 'pencil';

type Scenario = (port: number, server: MysqlServer) => Promise<void>;

const SCRIPT = `
select 1 as one, 'é' as two, null as three;
create table items (id int primary key auto_increment, name varchar(40), price decimal(10,2), made datetime default '2024-01-01');
insert into items (name, price) values ('a;b', 1.5), (null, 2), ('c', null);
select * from items;
update items set price = 3 where id < 3;
select * from nowhere;
begin; select 1; rollback;
use mysql; use test;
delimiter //
create procedure two() begin select 1 as a; select 'x' as b, 'y' as c; end//
delimiter ;
call two();
show warnings;
set names latin1; select 'x';
load data local infile 'FILE' into table items fields terminated by ',' (name, price);
drop procedure two; drop table items;
`;

const commandLine: Scenario = async (port) => {
  const folder = mkdtempSync(join(tmpdir(), 'dbw-traces-'));
  const file = join(folder, 'items.csv');
  writeFileSync(file, 'x,1\ny,2\n');
  const args = [
    '--no-defaults',
    '-h127.0.0.1',
    `-P${port}`,
    '-uroot',
    '--force',
    '--local-infile=1',
    '--skip-ssl',
  ];
  const child = run('mariadb', [...args, 'test'], {
    env: { ...process.env, MYSQL_PWD: 'superuser-of-tests' },
  });
  child.child.stdin?.end(SCRIPT.replace('FILE', file));
  await child.catch(() => undefined);
  rmSync(folder, { recursive: true });
};

const driver2: Scenario = async (port, server) => {
  const client = await mysql2.createConnection({
    host: '127.0.0.1',
    port,
    user: 'root',
    password: server.password,
    database: 'test',
    multipleStatements: true,
  });
  await client.query('create table m (id bigint unsigned, t timestamp(3) null, b blob, f double)');
  await client.execute('insert into m values (?, ?, ?, ?)', [7, new Date(1e12), Buffer.from([0, 255]), 1.5]);
  for (const id of [7, 8]) await client.execute('select * from m where id = ?', [id]);
  await client.query('select 1; select 2; drop table m');
  await client.query('select * from nowhere').catch(() => undefined);
  await client.ping();
  await client.changeUser({ user: 'other', password: PASSWORD, database: 'test' }).catch(() => undefined);
  await client.end();
};

const driverMariadb: Scenario = async (port, server) => {
  const client = await mariadb.createConnection({
    host: '127.0.0.1',
    port,
    user: 'root',
    password: server.password,
    database: 'test',
    allowPublicKeyRetrieval: true,
  });
  await client.query('create table d (id int, name varchar(20), u json)');
  await client.batch('insert into d values (?, ?, ?)', [
    [1, 'one', '{}'],
    [2, null, '[]'],
  ]);
  await client.execute('select * from d where id > ?', [0]);
  await client.execute('select * from d where id > ?', [1]);
  await client.reset().catch(() => undefined);
  await client.query('drop table d');
  await client.end();
};

const everyCommand =
  (deprecateEof: boolean): Scenario =>
  async (port, server) => {
    const client = await WireClient.connect({
      port,
      user: 'root',
      password: server.password,
      database: 'test',
      flags: Capability.QUERY_ATTRIBUTES,
      mariadb: MariadbCapability.EXTENDED_METADATA | MariadbCapability.CACHE_METADATA,
      withoutFlags: deprecateEof ? 0 : Capability.DEPRECATE_EOF,
    });
    const one = async (write: Parameters<WireClient['send']>[0]): Promise<Buffer> => {
      client.send(write);
      return (await client.packet()).payload;
    };
    await client.query('drop table if exists e; create table e (a int, b text default null)');
    await client.query("insert into e values (1, 'one'), (2, 'two'), (3, null)", [
      { name: 'trace', type: ColumnType.VAR_STRING, value: Buffer.from('\x02id') },
    ]);
    const { statementId } = await client.prepare('select a, b from e where a > ? order by a');
    const zero = { name: '', type: ColumnType.LONG, value: Buffer.alloc(4) };
    const execute = (flags: number, newTypes: boolean): void =>
      client.send((out) =>
        encodeExecute(out, { statementId, flags, parameters: [zero], newTypes }, client.capabilities),
      );
    execute(0, true);
    await client.results(1);
    execute(0, false);
    await client.results(1);
    if (!deprecateEof) {
      execute(CURSOR_TYPE_READ_ONLY, false);
      for (;;) if ((await client.packet()).payload[0] === 0xfe) break;
      client.send((out) => encodeFetch(out, statementId, 2));
      for (;;) if ((await client.packet()).payload[0] === 0xfe) break;
    }
    await one((out) => encodeIdCommand(out, Command.STMT_RESET, statementId));
    const long = await client.prepare('insert into e values (9, ?)');
    client.send((out) => {
      encodeLongData(out, long.statementId, 0, Buffer.from('long data'));
      const parameters = [{ name: '', type: ColumnType.BLOB, value: Buffer.alloc(0) }];
      const message = { statementId: long.statementId, flags: 0, parameters, newTypes: true };
      encodeExecute(out, message, client.capabilities);
    });
    await client.results(1);
    client.send((out) => encodeIdCommand(out, Command.STMT_CLOSE, statementId));
    await one((out) => encodeBareCommand(out, Command.PING));
    await one((out) => encodeBareCommand(out, Command.STATISTICS));
    await one((out) => encodeTextCommand(out, Command.INIT_DB, 'test'));
    await one((out) => encodeSetOption(out, 1));
    await one((out) => encodeSetOption(out, 0));
    await one((out) => encodeIdCommand(out, Command.PROCESS_KILL, 999_999));
    if (server.version !== '9.7') {
      client.send((out) => encodeFieldList(out, { table: 'e', wildcard: '%' }));
      for (;;) if ((await client.packet()).payload[0] === 0xfe) break;
    }
    if (server.version !== '5.6') await one((out) => encodeBareCommand(out, Command.RESET_CONNECTION));
    await client.query('drop table e');
    if (client.method === 'mysql_native_password') {
      const nonce = client.greeting?.authData ?? Buffer.alloc(0);
      const answer = await one((out) =>
        encodeChangeUser(
          out,
          {
            user: 'root',
            authResponse: nativeResponse(server.password, nonce),
            database: 'test',
            collation: 45,
            authPlugin: 'mysql_native_password',
            attributes: new Map([['a', 'b']]),
          },
          client.capabilities,
        ),
      );
      if (answer[0] === 0xfe) {
        const data = Buffer.from(answer.subarray(answer.indexOf(0) + 1, -1));
        await one((out) => {
          out.raw(Buffer.from([20, 0, 0, 2]));
          out.raw(nativeResponse(server.password, data));
        });
      }
    }
    await client.close();
  };

const method =
  (user: string): Scenario =>
  async (port) => {
    for (const password of [PASSWORD, PASSWORD, 'wrong']) {
      const client = await WireClient.connect({ port, user, password }).catch(() => null);
      await client?.close();
    }
  };

async function main(): Promise<void> {
  const plain: [name: string, scenario: Scenario][] = [
    ['mariadb command line', commandLine],
    ['mysql2', driver2],
    ['mariadb driver', driverMariadb],
    ['every command', everyCommand(true)],
    ['every command, EOF packets', everyCommand(false)],
  ];
  const servers: [name: string, server: () => Promise<MysqlServer>, scenarios: typeof plain][] = [
    ['MariaDB 10.11', () => startMariadb({ settings: { local_infile: '1' } }), plain],
    [
      'MariaDB 11.8',
      () =>
        startMariadb({
          version: '11.8',
          initSql: `install soname 'auth_ed25519'; create user ed@'%' identified via ed25519 using password('${PASSWORD}')`,
        }),
      [...plain.slice(2), ['client_ed25519', method('ed')]],
    ],
    [
      'MySQL 9.7',
      () =>
        startMysql({
          settings: { local_infile: '1', session_track_transaction_info: 'CHARACTERISTICS' },
          initSql: `create user sha2@'%' identified with caching_sha2_password by '${PASSWORD}';
            create user sha256@'%' identified with sha256_password by '${PASSWORD}'`,
        }),
      [...plain.slice(1), ['caching_sha2_password', method('sha2')], ['sha256_password', method('sha256')]],
    ],
    [
      'MySQL 5.6',
      () => startMysql({ version: '5.6', settings: { local_infile: '1' } }),
      [plain[1], plain[4]],
    ],
  ];
  const traces: Trace[] = [];
  for (const [where, start, scenarios] of servers) {
    const server = await start();
    try {
      for (const [name, scenario] of scenarios) {
        const tap = new Tap(server.port);
        await scenario(await tap.listen(), server);
        tap.close();
        for (const [i, { client, upstream }] of tap.connections.entries())
          traces.push({
            name: `${where}, ${name}${tap.connections.length === 1 ? '' : `, connection ${i + 1}`}`,
            client: Buffer.concat(client).toString('hex'),
            upstream: Buffer.concat(upstream).toString('hex'),
          });
      }
    } finally {
      await server.stop();
    }
  }
  mkdirSync(new URL('.', TRACES_FILE), { recursive: true });
  writeFileSync(TRACES_FILE, `[\n${traces.map((trace) => JSON.stringify(trace)).join(',\n')}\n]\n`);
}

await main();
process.exit(0);
