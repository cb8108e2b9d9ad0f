/** FunctionCall, cancel, start-up parameters, time-outs, the end of a session. */
import { int32, message as m, RawClient } from '../raw-client.ts';
import { exchange, query, run, type Scenario, sequence } from './scenario.ts';

// pg_proc oids that never change: int4pl, textcat, pg_sleep, lo_creat's kin are looked up by these numbers.
const INT4PL = 177;
const TEXTCAT = 1258;
const INT4DIV = 154;
const LO_CREATE = 715;
const LO_UNLINK = 964;

/** Returns once the server runs a pg_sleep: a cancel sent earlier may find nothing to cancel. */
async function sleeping(watcher: RawClient): Promise<void> {
  for (;;) {
    const before = watcher.received.length;
    watcher.send(
      m.query(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
      ),
    );
    await watcher.until('Z');
    const row = watcher.received.slice(before).find((one) => one.type === 'D');
    if (row !== undefined && row.body.subarray(6).toString() !== '0') return;
  }
}

export const other: readonly Scenario[] = [
  {
    name: 'FunctionCall, text',
    run: exchange(m.functionCall(INT4PL, ['2', '3']), m.functionCall(TEXTCAT, ['ab', 'ü'])),
  },
  { name: 'FunctionCall, binary', run: exchange(m.functionCall(INT4PL, [int32(2), int32(3)], [1], 1)) },
  {
    name: 'FunctionCall, NULL, errors',
    run: exchange(
      m.functionCall(INT4PL, [null, '1']),
      m.functionCall(INT4DIV, ['1', '0']),
      m.functionCall(INT4PL, ['x', '1']),
      m.functionCall(INT4PL, ['1']),
      m.functionCall(4_000_000, []),
    ),
  },
  {
    name: 'FunctionCall in transactions',
    run: sequence(
      query('BEGIN'),
      exchange(m.functionCall(INT4PL, ['1', '1'])),
      exchange(m.functionCall(INT4DIV, ['1', '0'])),
      exchange(m.functionCall(INT4PL, ['1', '1'])),
      query('ROLLBACK'),
    ),
  },
  {
    name: 'large objects by FunctionCall',
    run: exchange(
      m.functionCall(LO_CREATE, [int32(4_300_000)], [1], 1),
      m.functionCall(LO_UNLINK, [int32(4_300_000)], [1], 1),
      m.functionCall(LO_UNLINK, [int32(4_300_000)], [1], 1),
    ),
  },
  {
    name: 'cancel',
    run: async (client, target) => {
      const watcher = await RawClient.connect(target);
      client.send(m.query('SELECT pg_sleep(60)'));
      await sleeping(watcher);
      await client.cancel();
      await client.until('Z');
      client.send(run('SELECT 1'), run('SELECT pg_sleep(61)'), run('SELECT 2'), m.sync());
      await sleeping(watcher);
      await client.cancel();
      await client.until('Z');
      await query('SELECT 3')(client, target);
      await watcher.end();
    },
  },
  {
    name: 'start-up parameters',
    parameters: {
      DateStyle: 'German',
      client_encoding: 'LATIN1',
      application_name: 'conformance',
      options: '-c work_mem=6MB -c search_path=pg_catalog',
      extra_float_digits: '2',
    },
    run: query(
      "SELECT current_setting('work_mem'), current_setting('search_path'), current_setting('extra_float_digits'), DATE '2024-02-29'",
    ),
  },
  {
    name: 'the server ends the session',
    run: async (client) => {
      client.send(m.query('SELECT pg_terminate_backend(pg_backend_pid())'));
      await client.untilClosed();
    },
  },
  {
    name: 'statement_timeout in a pipeline',
    run: exchange(
      run("SET statement_timeout = '30ms'"),
      m.sync(),
      run('SELECT pg_sleep(20)'),
      run('SELECT 1'),
      m.sync(),
      run('RESET statement_timeout'),
      m.sync(),
    ),
  },
  {
    name: 'cursors of SQL and portals see each other',
    run: sequence(
      query('BEGIN; DECLARE c CURSOR FOR VALUES (1), (2), (3)'),
      exchange(m.describe('P', 'c'), m.execute('c', 2), m.sync()),
      query('FETCH ALL FROM c'),
      exchange(m.parse('sql', 'SELECT 5'), m.sync()),
      query('EXECUTE sql'),
      query('COMMIT; DEALLOCATE sql'),
      exchange(m.bind('', 'sql'), m.sync()),
    ),
  },
  {
    name: 'a protocol-level statement replaced by PREPARE',
    run: sequence(
      query('PREPARE shared (int) AS SELECT $1 * 2'),
      exchange(m.describe('S', 'shared'), m.bind('', 'shared', ['21']), m.execute(), m.sync()),
      query('DISCARD ALL'),
      exchange(m.bind('', 'shared', ['1']), m.sync()),
    ),
  },
];
