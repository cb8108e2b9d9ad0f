/** The same said twice, directly and through dbwitness; what came back, as text to compare. */
import { Capability as C } from '../../../src/wire/mysql/protocol.ts';
import {
  failureOf,
  packet,
  type Packet,
  type RawOptions,
  RawMysql,
  type RawTarget,
  uint32,
} from './raw-client.ts';

/** One line per packet. */
export type Transcript = string[];

function show(title: string, packets: readonly Packet[]): string {
  return `${title}\n${packets.map(({ whole }) => `  ${whole.toString('hex')}`).join('\n')}`;
}

/** The same without the statement's number, which a server may count over all its connections. */
function showPrepared(title: string, packets: readonly Packet[]): string {
  const [first, ...rest] = packets;
  const whole = Buffer.from(first.whole);
  whole.fill(0, 5, 9);
  return show(title, [{ ...first, whole }, ...rest]);
}

/** An error that quotes a statement's number, and a function's name that differs between versions. */
function showError(title: string, packets: readonly Packet[]): string {
  return `${title}\n  ${failureOf(packets).replace(/\(\d+\).*/, '(n)')}`;
}

const STMT = { prepare: 0x16, execute: 0x17, longData: 0x18, close: 0x19, reset: 0x1a, fetch: 0x1c } as const;

/** A session that runs texts, then prepared statements, cursors and the small commands. */
export async function transcript(
  target: RawTarget,
  script: readonly string[],
  options: RawOptions,
): Promise<Transcript> {
  const client = await RawMysql.connect(target, options);
  const lines: Transcript = [];
  for (const sql of script) lines.push(show(sql, await client.query(sql)));
  await preparedStatements(client, lines);
  await smallCommands(client, lines);
  await client.quit();
  return lines;
}

async function preparedStatements(client: RawMysql, lines: Transcript): Promise<void> {
  const note = (title: string, packets: readonly Packet[]): number => lines.push(show(title, packets));
  const prepare = (sql: string): Promise<Packet[]> =>
    client.run(Buffer.concat([Buffer.from([STMT.prepare]), Buffer.from(sql)]), 'prepare');
  const attributes = (client.capabilities.flags & C.QUERY_ATTRIBUTES) !== 0;
  await client.query('DROP TABLE IF EXISTS ps');
  await client.query('CREATE TABLE ps (id INT PRIMARY KEY, v TEXT, n DECIMAL(10,2))');
  const insert = await prepare('INSERT INTO ps VALUES (?, ?, ?)');
  lines.push(showPrepared('prepare insert', insert));
  const insertId = insert[0].payload.readUInt32LE(1);
  // Types: LONG, VAR_STRING, NEWDECIMAL; then without types; then with NULL.
  const execute = (id: number, flags: number, tail: Buffer): Buffer =>
    Buffer.concat([Buffer.from([STMT.execute]), uint32(id), Buffer.from([flags]), uint32(1), tail]);
  const named = attributes ? [0] : [];
  // With attributes, their number and that of the parameters together stands in front.
  const counted = attributes ? [3] : [];
  const types = Buffer.from([3, 0, ...named, 253, 0, ...named, 246, 0, ...named]);
  const values = (n: number, text: string): Buffer =>
    Buffer.concat([
      uint32(n),
      Buffer.from([text.length]),
      Buffer.from(text),
      Buffer.from([4]),
      Buffer.from('1.25'),
    ]);
  const run = async (title: string, id: number, flags: number, tail: Buffer): Promise<void> => {
    note(title, await client.run(execute(id, flags, tail), flags === 0 ? 'query' : 'cursor'));
  };
  await run(
    'with types',
    insertId,
    0,
    Buffer.concat([Buffer.from([...counted, 0, 1]), types, values(1, 'one')]),
  );
  await run('without types', insertId, 0, Buffer.concat([Buffer.from([...counted, 0, 0]), values(2, 'two')]));
  await run('NULLs', insertId, 0, Buffer.concat([Buffer.from([...counted, 6, 0]), uint32(3)]));
  await run('a duplicate', insertId, 0, Buffer.concat([Buffer.from([...counted, 0, 0]), values(1, 'one')]));
  client.send(
    packet(
      Buffer.concat([
        Buffer.from([STMT.longData]),
        uint32(insertId),
        Buffer.from([1, 0]),
        Buffer.alloc(50_000, 'L'),
      ]),
    ),
  );
  client.send(
    packet(
      Buffer.concat([
        Buffer.from([STMT.longData]),
        uint32(insertId),
        Buffer.from([1, 0]),
        Buffer.from(' and the end'),
      ]),
    ),
  );
  await run(
    'long data',
    insertId,
    0,
    Buffer.concat([Buffer.from([...counted, 0, 1]), types, uint32(4), Buffer.from([4]), Buffer.from('9.99')]),
  );
  note('reset', await client.run(Buffer.concat([Buffer.from([STMT.reset]), uint32(insertId)]), 'one'));
  client.send(packet(Buffer.concat([Buffer.from([STMT.close]), uint32(insertId)])));
  const select = await prepare('SELECT id, v, n, LENGTH(v) AS l FROM ps ORDER BY id');
  lines.push(showPrepared('prepare select', select));
  const selectId = select[0].payload.readUInt32LE(1);
  await run('all', selectId, 0, Buffer.alloc(0));
  await run('all again', selectId, 0, Buffer.alloc(0));
  await run('with a cursor', selectId, 1, Buffer.alloc(0));
  for (const rows of [1, 2, 5])
    note(
      `fetch ${rows}`,
      await client.run(Buffer.concat([Buffer.from([STMT.fetch]), uint32(selectId), uint32(rows)]), 'fetch'),
    );
  const past = Buffer.concat([Buffer.from([STMT.fetch]), uint32(selectId), uint32(1)]);
  lines.push(showError('fetch past the end', await client.run(past, 'fetch')));
  note('prepare nonsense', await prepare('SELECT FROM'));
  note('prepare two', await prepare('SELECT 1; SELECT 2'));
  const nobodys = await client.run(execute(987_654, 0, Buffer.alloc(0)));
  lines.push(showError('a statement of nobody', nobodys));
  await client.query('DROP TABLE ps');
}

async function smallCommands(client: RawMysql, lines: Transcript): Promise<void> {
  const note = (title: string, packets: readonly Packet[]): number => lines.push(show(title, packets));
  note('ping', await client.run(Buffer.from([0x0e]), 'one'));
  note(
    'statistics',
    (await client.run(Buffer.from([0x09]), 'one')).map((one) => ({
      ...one,
      whole: one.whole.subarray(3, 6),
    })),
  );
  note('init db', await client.run(Buffer.from('\x02test'), 'one'));
  note('multi statements off', await client.run(Buffer.from([0x1b, 1, 0]), 'one'));
  note('one of two', await client.query('SELECT 1; SELECT 2'));
  note('multi statements on', await client.run(Buffer.from([0x1b, 0, 0]), 'one'));
  note('two', await client.query('SELECT 1; SELECT 2'));
  await client.query('CREATE TABLE fl (a INT DEFAULT 7, b VARCHAR(10))');
  note('field list', await client.run(Buffer.from('\x04fl\0%'), 'fieldList'));
  await client.query('DROP TABLE fl');
  note('set variable', await client.query('SET @gone = 1'));
  const reset = await client.run(Buffer.from([0x1f]), 'one');
  note('reset connection', reset);
  if (failureOf(reset) === '') note('variable', await client.query('SELECT @gone'));
}
