/** COPY in both directions, in every format, and what can go wrong in it. */
import { int16, int32, message as m } from '../raw-client.ts';
import { exchange, query, run, type Scenario, sequence } from './scenario.ts';

/** COPY IN: the statement, then the data once the server asks for it. */
function copyIn(sql: string, ...data: readonly Buffer[]): Scenario['run'] {
  return async (client) => {
    client.send(m.query(sql));
    await client.until('G');
    client.send(...data);
    await client.until('Z');
  };
}

/** COPY IN as drivers do it that send a Sync with every Execute: the server reads over that one. */
function syncedCopyIn(data: readonly Buffer[]): Scenario['run'] {
  return async (client) => {
    client.send(run('COPY cp FROM STDIN'), m.sync());
    await client.until('G');
    client.send(...data);
    await client.until('Z');
  };
}

const BINARY_HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const binaryRow = (n: number, t: string): Buffer =>
  Buffer.concat([int16(2), int32(4), int32(n), int32(Buffer.byteLength(t)), Buffer.from(t)]);
const COPY_TABLE = query('CREATE TABLE cp (n int, t text)');
const COPY_SHOW = query('SELECT * FROM cp ORDER BY n; DROP TABLE cp');

export const copy: readonly Scenario[] = [
  {
    name: 'COPY in, text, cut anywhere',
    run: sequence(
      COPY_TABLE,
      copyIn(
        'COPY cp FROM STDIN',
        m.copyData('1\tone\n2'),
        m.copyData('\ttwo\n3\t\\N\n'),
        m.copyData(''),
        m.copyData('4\ttab\\there\n'),
        m.copyDone(),
      ),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, csv',
    run: sequence(
      COPY_TABLE,
      copyIn('COPY cp FROM STDIN (FORMAT csv, HEADER)', m.copyData('n,t\n1,"a ""b"", c\n2"\n'), m.copyDone()),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, binary',
    run: sequence(
      COPY_TABLE,
      copyIn(
        'COPY cp FROM STDIN (FORMAT binary)',
        m.copyData(BINARY_HEADER),
        m.copyData(binaryRow(1, 'x')),
        m.copyData(binaryRow(2, 'ü')),
        m.copyData(int16(-1)),
        m.copyDone(),
      ),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, many rows',
    run: sequence(
      COPY_TABLE,
      copyIn(
        'COPY cp FROM STDIN',
        ...Array.from({ length: 20_000 }, (_, i) => m.copyData(`${i}\trow ${i}\n`)),
        m.copyDone(),
      ),
      query('SELECT count(*), sum(n) FROM cp; DROP TABLE cp'),
    ),
  },
  {
    name: 'COPY in, given up',
    run: sequence(
      COPY_TABLE,
      copyIn('COPY cp FROM STDIN', m.copyData('1\tx\n'), m.copyFail('changed my mind')),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, bad data, more data after the error',
    run: sequence(
      COPY_TABLE,
      copyIn('COPY cp FROM STDIN', m.copyData('1\tx\nbad\ty\n'), m.copyData('2\tz\n'), m.copyDone()),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, an unexpected message',
    run: async (client) => {
      client.send(m.query('CREATE TEMP TABLE lost (n int); COPY lost FROM STDIN'));
      await client.until('G');
      client.send(m.copyData('1\n'), m.query('SELECT 1'));
      await client.untilClosed();
    },
  },
  {
    name: 'COPY in, Flush and Sync are ignored',
    run: sequence(
      COPY_TABLE,
      copyIn('COPY cp FROM STDIN', m.flush(), m.sync(), m.copyData('1\tx\n'), m.copyDone()),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in among other statements',
    run: sequence(
      COPY_TABLE,
      copyIn("SELECT 'before'; COPY cp FROM STDIN; SELECT 'after'", m.copyData('1\tx\n'), m.copyDone()),
      COPY_SHOW,
    ),
  },
  {
    name: 'two COPY in one query',
    run: sequence(
      COPY_TABLE,
      async (client) => {
        client.send(m.query('COPY cp FROM STDIN; COPY cp FROM STDIN (FORMAT csv)'));
        await client.until('G');
        client.send(m.copyData('1\tx\n'), m.copyDone());
        await client.until('G');
        client.send(m.copyData('2,y\n'), m.copyDone());
        await client.until('Z');
      },
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, extended',
    run: sequence(
      COPY_TABLE,
      async (client) => {
        client.send(
          m.parse('', 'COPY cp FROM STDIN'),
          m.bind('', ''),
          m.describe('P'),
          m.execute(),
          m.flush(),
        );
        await client.until('G');
        client.send(m.copyData('1\tx\n'), m.copyDone(), m.sync());
        await client.until('Z');
      },
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, extended, an error, then Sync',
    run: sequence(
      COPY_TABLE,
      async (client) => {
        client.send(m.parse('', 'COPY cp FROM STDIN'), m.bind('', ''), m.execute(), m.flush());
        await client.until('G');
        client.send(m.copyData('bad\n'), m.copyData('1\tx\n'), m.copyDone(), run('SELECT 1'), m.sync());
        await client.until('Z');
      },
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, extended, with the Sync before the data',
    run: sequence(
      COPY_TABLE,
      syncedCopyIn([m.copyData('1\tx\n'), m.copyDone(), m.sync()]),
      syncedCopyIn([m.copyFail('not this way'), m.sync()]),
      query('BEGIN'),
      syncedCopyIn([m.copyData('2\ty\n'), m.sync(), m.copyData('3\tz\n'), m.copyDone(), m.sync()]),
      exchange(run("INSERT INTO cp VALUES (4, 'w')"), m.sync()),
      query('COMMIT'),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, extended, two Syncs before the data, which are wrong, then the end',
    run: sequence(
      COPY_TABLE,
      async (client) => {
        client.send(run('COPY cp FROM STDIN'), m.sync(), m.sync());
        await client.until('G');
        client.send(m.copyData('bad\n'));
        await client.until('E');
        client.send(m.copyDone(), m.sync());
        await client.until('Z');
      },
      exchange(run('SELECT 1'), m.sync()),
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, extended, the statement fails before it asks for data',
    run: sequence(
      exchange(run('COPY missing FROM STDIN'), m.sync(), m.copyData('1\tx\n'), m.copyDone(), m.sync()),
      exchange(run('SELECT 1'), m.sync()),
    ),
  },
  {
    name: 'COPY in, data sent before the server asked',
    run: sequence(
      COPY_TABLE,
      async (client) => {
        client.send(m.query('COPY cp FROM STDIN'), m.copyData('1\tx\n'), m.copyDone());
        await client.until('Z');
      },
      COPY_SHOW,
    ),
  },
  {
    name: 'COPY in, refused, data sent all the same',
    run: async (client) => {
      client.send(m.query('COPY missing FROM STDIN'), m.copyData('1\tx\n'), m.copyDone());
      await client.until('Z');
      await query('SELECT 1')(client, client.target);
    },
  },
  {
    name: 'COPY data outside of a COPY',
    run: exchange(m.copyData('stray'), m.copyDone(), m.copyFail('stray'), m.query('SELECT 1')),
  },
  {
    name: 'COPY out, text, csv, binary',
    run: sequence(
      query("COPY (SELECT g, 'ü' || g FROM generate_series(1, 3) g) TO STDOUT"),
      query("COPY (SELECT g, 'a,b' FROM generate_series(1, 3) g) TO STDOUT (FORMAT csv, HEADER)"),
      query('COPY (SELECT g, NULL FROM generate_series(1, 3) g) TO STDOUT (FORMAT binary)'),
    ),
  },
  {
    name: 'COPY out, an error in the middle',
    run: query('COPY (SELECT 1 / (5 - g) FROM generate_series(1, 10) g) TO STDOUT'),
  },
  {
    name: 'COPY out, many rows',
    run: query("COPY (SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g) TO STDOUT"),
  },
  { name: 'COPY out, extended', run: exchange(run('COPY (SELECT 1) TO STDOUT'), m.sync()) },
];
