/** The extended query protocol: pipelines, portals, errors in the middle. */
import { int16, int32, message as m } from '../raw-client.ts';
import { exchange, query, run, type Scenario, sequence } from './scenario.ts';

export const extended: readonly Scenario[] = [
  {
    name: 'parse, bind, describe, execute',
    run: exchange(run('SELECT $1::int, $2::text', ['1', null]), m.sync()),
  },
  {
    name: 'binary parameters and results',
    run: exchange(
      m.parse('', 'SELECT $1, $2, $3::float8, $4', [23, 17, 701, 2950]),
      m.describe('S'),
      m.bind(
        '',
        '',
        [int32(7), Buffer.from([0, 255]), Buffer.from('3ff8000000000000', 'hex'), Buffer.alloc(16, 9)],
        [1],
        [1],
      ),
      m.execute(),
      m.sync(),
    ),
  },
  {
    name: 'more parameters than a message can count',
    run: sequence(
      exchange(m.parse('', `SELECT ${'$1::int+'.repeat(3)}$65535`), m.describe('S'), m.sync()),
      exchange(m.parse('', 'SELECT $65536::int'), m.describe('S'), m.sync()),
      exchange(m.parse('', 'SELECT $1000000::int'), m.describe('S'), m.sync()),
      query('SELECT 1'),
    ),
  },
  {
    name: 'mixed formats',
    run: exchange(
      m.parse('', 'SELECT $1::int, $2::int, $1::text'),
      m.bind('', '', [int32(5), '6'], [1, 0], [0, 1, 0]),
      m.describe('P'),
      m.execute(),
      m.sync(),
    ),
  },
  {
    name: 'named statements and portals',
    run: sequence(
      exchange(m.parse('s1', 'SELECT g FROM generate_series(1, $1::int) g'), m.describe('S', 's1'), m.sync()),
      exchange(
        m.bind('p1', 's1', ['3']),
        m.bind('p2', 's1', ['2']),
        m.execute('p2'),
        m.execute('p1'),
        m.sync(),
      ),
      exchange(m.parse('s1', 'SELECT 2'), m.sync()),
      exchange(m.execute('p1'), m.sync()),
      exchange(m.close('S', 's1'), m.close('P', 'never'), m.sync()),
      exchange(m.bind('', 's1', ['1']), m.sync()),
      exchange(m.parse('s1', 'SELECT 3'), m.bind('', 's1'), m.execute(), m.sync()),
    ),
  },
  {
    name: 'a portal fetched in pieces',
    run: sequence(
      query('BEGIN'),
      exchange(
        m.parse('', 'SELECT g FROM generate_series(1, 10) g'),
        m.bind('piece', ''),
        m.describe('P', 'piece'),
        m.execute('piece', 3),
        m.execute('piece', 4),
        m.sync(),
      ),
      query("SELECT 'between the pieces'"),
      exchange(m.execute('piece', 3), m.execute('piece', 3), m.execute('piece', 3), m.sync()),
      exchange(m.close('P', 'piece'), m.execute('piece', 1), m.sync()),
      query('ROLLBACK'),
    ),
  },
  {
    name: 'exactly as many rows as asked for',
    run: exchange(run('VALUES (1), (2)', [], 2), m.execute('', 2), m.sync()),
  },
  {
    name: 'a portal ends with its transaction',
    run: exchange(m.parse('', 'SELECT 1'), m.bind('p', ''), m.sync(), m.execute('p'), m.sync()),
  },
  {
    name: 'an error skips to Sync',
    run: exchange(
      run('SELECT 1'),
      run('SELECT 1/0'),
      run('SELECT 2'),
      m.parse('unseen', 'SELECT 3'),
      m.describe('S', 'unseen'),
      m.close('S', 'unseen'),
      m.sync(),
      run('SELECT 4'),
      m.sync(),
      m.describe('S', 'unseen'),
      m.sync(),
    ),
  },
  {
    name: 'an error undoes the implicit transaction of a pipeline',
    run: sequence(
      query('CREATE TABLE pipe (n int PRIMARY KEY)'),
      exchange(
        run('INSERT INTO pipe VALUES (1)'),
        run('INSERT INTO pipe VALUES (2)'),
        run('INSERT INTO pipe VALUES (1)'),
        run('INSERT INTO pipe VALUES (3)'),
        m.sync(),
      ),
      query('SELECT count(*) FROM pipe'),
      exchange(
        run('INSERT INTO pipe VALUES (1)'),
        m.sync(),
        run('INSERT INTO pipe VALUES (1)'),
        m.sync(),
        run('INSERT INTO pipe VALUES (2)'),
        m.sync(),
      ),
      query('SELECT count(*) FROM pipe'),
      exchange(
        run('BEGIN'),
        run('DELETE FROM pipe'),
        run('SELECT x'),
        m.sync(),
        run('SELECT 1'),
        m.sync(),
        run('ROLLBACK'),
        m.sync(),
      ),
      query('DROP TABLE pipe'),
    ),
  },
  {
    name: 'many Executes before one Sync',
    run: exchange(
      m.parse('n', 'SELECT $1::int * 2'),
      ...Array.from({ length: 500 }, (_, i) => Buffer.concat([m.bind('', 'n', [String(i)]), m.execute()])),
      m.sync(),
    ),
  },
  {
    name: 'ten thousand pipelined messages',
    run: exchange(
      m.parse('n', 'SELECT $1::int'),
      ...Array.from({ length: 5000 }, (_, i) =>
        Buffer.concat([
          m.bind('', 'n', [i % 1000 === 999 ? 'x' : String(i)]),
          m.execute(),
          ...(i % 10 === 9 ? [m.sync()] : []),
        ]),
      ).flatMap(split),
    ),
  },
  {
    name: 'Flush without Sync',
    run: async (client) => {
      client.send(m.parse('', 'SELECT 1'), m.flush());
      await client.until('1');
      client.send(m.bind('', ''), m.describe('P'), m.flush());
      await client.until('T');
      client.send(m.execute(), m.flush());
      await client.until('C');
      client.send(m.parse('', 'SELECT nothing'), m.flush());
      await client.until('E');
      client.send(m.parse('', 'SELECT 1'), m.flush(), m.sync());
      await client.until('Z');
    },
  },
  {
    name: 'empty statements',
    run: exchange(
      run(''),
      m.sync(),
      m.parse('', ' -- nothing'),
      m.describe('S'),
      m.bind('', ''),
      m.execute(),
      m.sync(),
    ),
  },
  { name: 'two statements in one Parse', run: exchange(run('SELECT 1; SELECT 2'), m.sync()) },
  {
    name: 'too few parameters',
    run: exchange(m.parse('', 'SELECT $1::int, $2::int'), m.bind('', '', ['1']), m.sync()),
  },
  {
    name: 'too many formats',
    run: exchange(m.parse('', 'SELECT $1::int'), m.bind('', '', ['1'], [0, 0, 1]), m.sync()),
  },
  {
    name: 'too many result formats',
    run: exchange(m.parse('', 'SELECT 1'), m.bind('', '', [], [], [0, 1]), m.sync()),
  },
  {
    name: 'a bad value',
    run: exchange(m.parse('', 'SELECT $1::int'), m.bind('', '', ['x']), m.execute(), m.sync()),
  },
  {
    name: 'a bad binary value',
    run: exchange(m.parse('', 'SELECT $1::int'), m.bind('', '', [int16(1)], [1]), m.execute(), m.sync()),
  },
  { name: 'an unknown parameter type', run: exchange(m.parse('', 'SELECT $1', [999_999]), m.sync()) },
  {
    name: 'unknown names',
    run: exchange(
      m.describe('S', 'no'),
      m.sync(),
      m.describe('P', 'no'),
      m.sync(),
      m.execute('no'),
      m.sync(),
      m.bind('', 'no'),
      m.sync(),
    ),
  },
  {
    name: 'the unnamed statement parsed again between Bind and Execute',
    run: exchange(
      m.parse('', "SELECT 'first'"),
      m.bind('p', ''),
      m.parse('', "SELECT 'second'"),
      m.execute('p'),
      m.bind('', ''),
      m.execute(),
      m.sync(),
    ),
  },
  {
    name: 'a failed Parse keeps the statement of before',
    run: sequence(
      exchange(m.parse('', "SELECT 'kept'"), m.sync()),
      exchange(m.parse('', 'SELEC'), m.sync()),
      exchange(m.bind('', ''), m.execute(), m.sync()),
    ),
  },
  {
    name: 'a plan that changed its result',
    run: sequence(
      query('CREATE TABLE plan (a int)'),
      exchange(m.parse('p', 'SELECT * FROM plan'), m.bind('', 'p'), m.execute(), m.sync()),
      query('ALTER TABLE plan ADD b text'),
      exchange(m.bind('', 'p'), m.execute(), m.sync()),
      query('DROP TABLE plan'),
    ),
  },
  {
    name: 'transaction control, piece by piece',
    run: exchange(
      run('BEGIN'),
      m.sync(),
      run("SET LOCAL application_name = 'x'"),
      m.sync(),
      run('SAVEPOINT a'),
      m.sync(),
      run('SELECT 1/0'),
      m.sync(),
      run('ROLLBACK TO a'),
      m.sync(),
      run('COMMIT'),
      m.sync(),
    ),
  },
  {
    name: 'what cannot run in a transaction block',
    run: sequence(
      query('CREATE TABLE busy (n int)'),
      exchange(run('VACUUM busy'), m.sync(), run('CREATE INDEX CONCURRENTLY busy_n ON busy (n)'), m.sync()),
      exchange(run('SELECT 1'), run('VACUUM busy'), m.sync()),
      query('SELECT 1; VACUUM busy'),
      query('DROP TABLE busy'),
    ),
  },
  {
    name: 'simple and extended mixed without waiting',
    run: exchange(
      run('SELECT 1'),
      m.query('SELECT 2'),
      run('SELECT 3'),
      m.sync(),
      m.query('SELECT 1/0'),
      run('SELECT 4'),
      m.sync(),
    ),
  },
  { name: 'Sync and Flush alone', run: exchange(m.sync(), m.flush(), m.sync(), m.sync()) },
  {
    name: 'notices and notifications in a pipeline',
    run: exchange(
      run('LISTEN pipe'),
      run('NOTIFY pipe'),
      m.sync(),
      run("DO $$ BEGIN RAISE NOTICE 'n'; END $$"),
      run('SELECT 1'),
      m.sync(),
    ),
  },
];

/** The messages of a buffer, so that Syncs can be counted. */
function split(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    parts.push(bytes.subarray(at, end));
    at = end;
  }
  return parts;
}
