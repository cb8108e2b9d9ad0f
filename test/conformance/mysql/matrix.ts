/**
 * What is said to a server directly and through dbwitness, by tables: every type of a column as text and in binary, every
 * character set, every type of a parameter, and one statement at least of each kind. A server that does not know something
 * answers with an error, which has to be the same as well, so no statement is left out for any of them.
 */
import { ByteWriter } from '../../../src/base/bytes.ts';
import { ColumnType as T, encodeBulkExecute, encodeExecute } from '../../../src/wire/mysql/parameters.ts';
import { Capability as C, MariadbCapability as M } from '../../../src/wire/mysql/protocol.ts';
import { CHARSETS, NO_CLIENT, PARAMETERS, STATEMENTS, TYPES } from './matrix-tables.ts';
import {
  failureOf,
  packet,
  type Packet,
  queryPayload,
  type RawMysql,
  type RawOptions,
  uint32,
} from './raw-client.ts';

const CLEAN = [
  'DROP PROCEDURE IF EXISTS mx_p; DROP PROCEDURE IF EXISTS mx_e; DROP PROCEDURE IF EXISTS mx_w; DROP PROCEDURE IF EXISTS mx_n; DROP PROCEDURE IF EXISTS mx_c; DROP FUNCTION IF EXISTS mx_f',
  'DROP TABLE IF EXISTS mx_child, mx_parent, mx_t, mx_r, mx_like, mx_sel, mx_part, mx_check, mx_implicit, mx_bulk',
  "SET sql_mode = '', character_set_results = utf8mb4",
];

function typeTexts(): string[] {
  return TYPES.flatMap(([type, ...values], i) => [
    `CREATE TEMPORARY TABLE mx_type${i} (v ${type})`,
    ...values.map((value) => `INSERT INTO mx_type${i} VALUES (${value})`),
    `INSERT INTO mx_type${i} VALUES (NULL)`,
    `SELECT * FROM mx_type${i}`,
  ]);
}

function charsetTexts(): string[] {
  return CHARSETS.flatMap(([charset, hex]) => [
    `CREATE TEMPORARY TABLE mx_${charset} (c CHAR(20), v VARCHAR(20), t TEXT, e ENUM('a','b')) CHARACTER SET ${charset}`,
    `INSERT INTO mx_${charset} VALUES (_${charset} x'${hex}', _${charset} x'${hex}', _${charset} x'${hex}', 'b')`,
    `SELECT c, v, t, e, HEX(v) FROM mx_${charset}`,
    NO_CLIENT.has(charset) ? `SET character_set_results = ${charset}` : `SET NAMES ${charset}`,
    `SELECT c, v, t, e FROM mx_${charset}`,
    `SELECT missing FROM mx_${charset}`,
    'SET NAMES utf8mb4',
  ]);
}

/** Statements to be prepared; executed with the parameters that stand with them. */
const PREPARED: readonly (readonly [sql: string, ...parameters: number[]])[] = [
  ...TYPES.map((_, i) => [`SELECT * FROM mx_type${i}`] as const),
  ...CHARSETS.map(([charset]) => [`SELECT * FROM mx_${charset}`] as const),
  ...PARAMETERS.map((_, i) => ['SELECT ? AS v', i] as const),
  ['SELECT ? + ?, CONCAT(?, ?)', 0, 8, 22, 10],
  ['CALL mx_p(?, ?, ?)', 4, 4, 22],
  ['CALL mx_e()'],
  ['CALL mx_n()'],
  ['CALL mx_c()'],
  ['INSERT INTO mx_t (v, w) VALUES (?, ?)', 22, 4],
  ['UPDATE mx_t SET v = ? WHERE id = ?', 23, 0],
  ['DELETE FROM mx_t WHERE v = ?', 22],
  ['SELECT * FROM mx_t WHERE id > ? ORDER BY id LIMIT ?', 0, 5],
  ['SHOW TABLES'],
  ['SHOW CREATE TABLE mx_t'],
  ['SET @prepared = ?', 10],
  ['DO 1'],
  ['EXPLAIN SELECT 1'],
  ['ANALYZE TABLE mx_t'],
  ['SELECT 1 / 0, CAST(? AS SIGNED)', 22],
  ['INSERT INTO mx_t (id) VALUES (?)', 7],
  ['SELECT * FROM mx_nowhere WHERE a = ?'],
  ['SELECT ? ?'],
  ['LOCK TABLES mx_t READ'],
  ['UNLOCK TABLES'],
  ['BEGIN'],
  ['COMMIT'],
  ['HANDLER mx_t OPEN'],
  ['HANDLER mx_t CLOSE'],
  ['CREATE TABLE mx_check (a INT)'],
  [''],
];

/** How many exchanges there are, of texts and of prepared statements. */
export const EXCHANGES = typeTexts().length + charsetTexts().length + STATEMENTS.length + PREPARED.length;

/** All of them, in a session of its own kind: one line per exchange, with every packet of its answer. */
export async function matrix(client: RawMysql): Promise<string[]> {
  await several(client, CLEAN);
  const lines = await several(client, [...typeTexts(), ...charsetTexts(), ...STATEMENTS]);
  lines.push(...(await prepared(client)));
  if ((client.capabilities.mariadb & M.STMT_BULK_OPERATIONS) !== 0) lines.push(...(await bulk(client)));
  await several(client, CLEAN);
  return lines;
}

/** Sends texts without waiting for their answers, which come one after the other. */
async function several(client: RawMysql, texts: readonly string[]): Promise<string[]> {
  client.send(...texts.map((sql) => packet(queryPayload(client.capabilities, sql.replace(/^~/, '')))));
  const lines: string[] = [];
  for (const sql of texts)
    lines.push(line(sql, await client.answer(), sql.startsWith('~') ? 'shape' : 'all'));
  return lines;
}

function line(title: string, packets: readonly Packet[], show: 'all' | 'shape'): string {
  const failure = failureOf(packets);
  if (failure !== '')
    return `${title}\n  failed: ${packets.map(({ whole }) => whole.toString('hex')).join('\n  ')}`;
  if (show === 'all') return `${title}\n  ${packets.map(({ whole }) => whole.toString('hex')).join('\n  ')}`;
  // The number of columns and what they are.
  const columns = packets[0].payload[0];
  return `${title}\n  ${packets
    .slice(0, 1 + columns)
    .map(({ whole }) => whole.toString('hex'))
    .join('\n  ')}`;
}

async function prepared(client: RawMysql): Promise<string[]> {
  const lines: string[] = [];
  client.send(...PREPARED.map(([sql]) => packet(Buffer.concat([Buffer.from([0x16]), Buffer.from(sql)]))));
  const ids: (number | null)[] = [];
  for (const [sql] of PREPARED) {
    const packets = await client.answer('prepare');
    const failed = failureOf(packets) !== '';
    ids.push(failed ? null : packets[0].payload.readUInt32LE(1));
    // A server may count statements over all its connections.
    if (!failed) packets[0].whole.fill(0, 5, 9);
    lines.push(line(`prepare ${sql}`, packets, 'all'));
  }
  const running = PREPARED.flatMap(([sql, ...parameters], i) => {
    const id = ids[i];
    return id === null ? [] : [{ sql, id, parameters }];
  });
  for (const flags of [0, 1]) {
    const ones =
      flags === 0
        ? running
        : running.filter(({ sql }) => /^(?:SELECT \* FROM mx_type|CALL mx_[cn])/.test(sql));
    client.send(...ones.map(({ id, parameters }) => execution(client, id, flags, parameters)));
    for (const { sql } of ones)
      lines.push(
        line(`execute ${flags} ${sql}`, await client.answer(flags === 0 ? 'query' : 'cursor'), 'all'),
      );
    if (flags === 0) continue;
    const fetched = ones.filter(({ sql }) => sql.startsWith('SELECT'));
    client.send(
      ...fetched.map(({ id }) => packet(Buffer.concat([Buffer.from([0x1c]), uint32(id), uint32(100)]))),
    );
    for (const { sql } of fetched) lines.push(line(`fetch ${sql}`, await client.answer('fetch'), 'all'));
  }
  client.send(...running.map(({ id }) => packet(Buffer.concat([Buffer.from([0x19]), uint32(id)]))));
  return lines;
}

function execution(client: RawMysql, statementId: number, flags: number, which: readonly number[]): Buffer {
  const writer = new ByteWriter(1024);
  const parameters = which.map((index) => {
    const [type, hex] = PARAMETERS[index];
    return { name: '', type, value: hex === null ? null : Buffer.from(hex, 'hex') };
  });
  encodeExecute(writer, { statementId, flags, parameters, newTypes: true }, client.capabilities);
  return writer.copy();
}

async function bulk(client: RawMysql): Promise<string[]> {
  const lines = await several(client, [
    'CREATE TABLE mx_bulk (a INT DEFAULT 7, b VARCHAR(20), c DATETIME(3))',
  ]);
  for (const sql of [
    'INSERT INTO mx_bulk VALUES (?, ?, ?)',
    'DELETE FROM mx_bulk WHERE a = ? AND b = ? OR c = ?',
  ]) {
    const packets = await client.run(Buffer.concat([Buffer.from([0x16]), Buffer.from(sql)]), 'prepare');
    const statementId = packets[0].payload.readUInt32LE(1);
    const types = [T.LONG, T.VAR_STRING, T.DATETIME];
    const text = Buffer.from('\u0003bul', 'latin1');
    const when = Buffer.from('07e8070b15010203', 'hex');
    const rows = [
      [uint32(1), text, when],
      [uint32(2), 1, 1],
      [2, text, when],
    ];
    for (const flags of [128, 128 + 64]) {
      const writer = new ByteWriter(1024);
      encodeBulkExecute(writer, { statementId, flags, types, rows });
      client.send(writer.copy());
      lines.push(line(`bulk ${flags} ${sql}`, await client.answer(), 'all'));
    }
  }
  lines.push(...(await several(client, ['SELECT * FROM mx_bulk'])));
  return lines;
}

/** The ways in which packets differ most; the other script has more of them. */
export const MATRIX_MODES: Readonly<Record<string, RawOptions>> = {
  'all that the server has': {},
  'EOF packets, nothing optional': {
    wanted: ~(C.DEPRECATE_EOF | C.SESSION_TRACK | C.OPTIONAL_RESULTSET_METADATA | C.QUERY_ATTRIBUTES) >>> 0,
    mariadb: 0,
  },
};
