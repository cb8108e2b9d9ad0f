/**
 * The script through three clients: node-postgres, postgres.js and psql. Each gives lines of text that say everything it
 * learned: rows as the raw text of the wire, field descriptions, tags, counts, all fields of errors and notices.
 */
import { readFileSync } from 'node:fs';
import pg from 'pg';
import postgres from 'postgres';
import { type PgTarget, requirePath, startProcess } from '../../servers/index.ts';
import { ENTRIES, PARAMETERISED } from './script.ts';
import { stable } from './transcript.ts';

/** Keys of an Error that are not of the protocol. */
const NOT_COMPARED = new Set(['stack', 'query', 'parameters', 'args', 'types', 'client']);

function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { thrown: String(error) };
  const fields = Object.entries(error).filter(([key]) => !NOT_COMPARED.has(key));
  return { message: error.message, ...Object.fromEntries(fields) };
}

const rawTypes = { getTypeParser: () => (value: unknown) => value } as unknown as pg.CustomTypesConfig;

interface PgRun {
  readonly client: pg.Client;
  readonly lines: string[];
}

async function connectPg(target: PgTarget): Promise<PgRun> {
  const client = new pg.Client({ ...target, types: rawTypes });
  const lines: string[] = [];
  client.on('notice', (notice) => lines.push(`  notice ${stable(errorFields(notice))}`));
  client.on('notification', ({ channel, payload }) => lines.push(`  notification ${channel} ${payload}`));
  client.on('error', (error) => lines.push(`  connection error ${error.message}`));
  await client.connect();
  return { client, lines };
}

interface PgResult {
  readonly command: string;
  readonly rowCount: number | null;
  readonly fields: unknown[];
  readonly rows: unknown[];
}

/** The options of pg's queries that its types leave out: the extended protocol always, binary results, rows per Execute. */
interface PgQuery extends pg.QueryArrayConfig {
  readonly queryMode?: 'extended';
  readonly binary?: boolean;
  readonly rows?: number;
}

async function runPg({ client, lines }: PgRun, config: PgQuery): Promise<void> {
  lines.push(stable(config.text));
  try {
    const answer = (await client.query(config)) as unknown as PgResult | PgResult[];
    for (const { command, rowCount, fields, rows } of Array.isArray(answer) ? answer : [answer])
      lines.push(`  ${command} ${rowCount} ${stable(fields)}`, ...rows.map((row) => `    ${stable(row)}`));
  } catch (error) {
    lines.push(`  error ${stable(errorFields(error))}`);
  }
}

/** The script by simple Query messages (`simple`), or each entry parsed, bound and executed (`extended`). */
export async function throughPg(target: PgTarget, mode: 'simple' | 'extended'): Promise<string[]> {
  const run = await connectPg(target);
  for (const text of ENTRIES) {
    const config = { text, rowMode: 'array' as const };
    await runPg(run, mode === 'simple' ? config : { ...config, queryMode: 'extended' });
  }
  await run.client.end();
  return run.lines;
}

/** Parameters, named statements executed again, binary results, results in pieces. */
export async function parametersThroughPg(target: PgTarget): Promise<string[]> {
  const run = await connectPg(target);
  for (const { sql, params } of PARAMETERISED)
    await runPg(run, { text: sql, values: [...params], rowMode: 'array' });
  for (const [index, { sql, params }] of PARAMETERISED.entries()) {
    const name = `statement ${index}`;
    const named = { name, text: sql, values: [...params], rowMode: 'array' as const };
    await runPg(run, named);
    await runPg(run, named);
    await runPg(run, { ...named, binary: true });
  }
  const many = { text: 'SELECT g FROM generate_series(1, 25) g', rowMode: 'array' as const };
  await runPg(run, { ...many, rows: 7 });
  // Queued together: answered in order.
  const queued = await Promise.allSettled(
    Array.from({ length: 200 }, (_, i) => run.client.query(`SELECT ${i} / ${i % 50}`)),
  );
  run.lines.push(
    ...queued.map((one) => `${one.status} ${one.status === 'rejected' ? String(one.reason) : ''}`),
  );
  await run.client.end();
  return run.lines;
}

type Sql = postgres.Sql<Record<string, never>>;

function connectPostgresJs(target: PgTarget, lines: string[]): Sql {
  return postgres({
    host: target.host,
    port: target.port,
    username: target.user,
    password: target.password,
    database: target.database,
    max: 1,
    fetch_types: false,
    onnotice: (notice) => lines.push(`  notice ${stable(notice)}`),
  });
}

async function runPostgresJs(
  sql: Sql,
  lines: string[],
  text: string,
  prepare: boolean,
  params: readonly unknown[] = [],
): Promise<void> {
  lines.push(stable(text));
  try {
    const result = (await sql.unsafe(text, [...params] as never[], { prepare }).raw()) as unknown as
      | postgres.RowList<Buffer[][]>
      | postgres.RowList<Buffer[][]>[];
    const results = isList(result) ? result : [result];
    for (const one of results)
      lines.push(
        `  ${one.command} ${one.count} ${stable(one.columns)}`,
        ...one.map((row) => `    ${stable(row)}`),
      );
  } catch (error) {
    lines.push(`  error ${stable(errorFields(error))}`);
  }
}

/** Several results come as an array of row lists, one as a row list (an array of rows with a `command`). */
function isList<T extends object>(value: T | T[]): value is T[] {
  return Array.isArray(value) && !('command' in value);
}

/** The script through postgres.js, by simple queries or all prepared. */
export async function throughPostgresJs(target: PgTarget, prepare: boolean): Promise<string[]> {
  const lines: string[] = [];
  const sql = connectPostgresJs(target, lines);
  // A reserved connection: the script's session state must not move to another.
  await sql`SELECT 1`; // reserve() of postgres.js does not open a connection by itself
  const one = await sql.reserve();
  for (const text of ENTRIES) await runPostgresJs(one, lines, text, prepare);
  one.release();
  await sql.end();
  return lines;
}

/** What postgres.js does beyond plain statements: cursors, COPY streams, transactions, LISTEN, describe, pipelines. */
export async function featuresThroughPostgresJs(target: PgTarget): Promise<string[]> {
  const lines: string[] = [];
  const sql = connectPostgresJs(target, lines);
  for (const { sql: text, params } of PARAMETERISED) await runPostgresJs(sql, lines, text, true, params);
  await sql`SELECT g FROM generate_series(1, 25) g`.cursor(10, (rows) => {
    lines.push(`cursor ${stable(rows)}`);
  });
  await sql`SELECT g FROM generate_series(1, 25) g`.cursor(10, () => sql.CLOSE);
  const { types, columns } = await sql`SELECT ${1}::int AS a, ${'x'}::text AS b`.describe();
  lines.push(`describe ${stable({ types, columns })}`);
  await sql`CREATE TABLE streamed (n int, t text)`;
  const writable = await sql`COPY streamed FROM STDIN`.writable();
  await new Promise<void>((done, fail) => {
    writable.once('error', fail);
    writable.once('finish', () => done());
    for (let i = 0; i < 5000; i++) writable.write(`${i}\tline ${i}\n`);
    writable.end();
  });
  const readable = await sql`COPY (SELECT * FROM streamed ORDER BY n) TO STDOUT`.readable();
  const chunks: Buffer[] = [];
  for await (const chunk of readable) chunks.push(chunk as Buffer);
  lines.push(`copied ${stable(Buffer.concat(chunks))}`);
  await sql.begin(async (transaction) => {
    await transaction`INSERT INTO streamed VALUES (-1, 'kept')`;
    await transaction
      .savepoint(async (inner) => {
        await inner`INSERT INTO streamed VALUES (-2, 'undone')`;
        await inner`SELECT 1 / 0`;
      })
      .catch((error: unknown) => lines.push(`savepoint ${stable(errorFields(error))}`));
  });
  lines.push(`negative ${stable(await sql`SELECT n FROM streamed WHERE n < 0`)}`);
  const pipelined = await Promise.allSettled(
    Array.from({ length: 300 }, (_, i) => sql`SELECT ${i}::int / ${i % 60}::int AS q`),
  );
  lines.push(
    ...pipelined.map((one) =>
      one.status === 'fulfilled' ? stable(one.value) : stable(errorFields(one.reason)),
    ),
  );
  await sql`DROP TABLE streamed`;
  await sql.end();
  // Its prepared statements have names of its own making.
  return lines.map((line) =>
    line.replaceAll(/prepared statement \\"[0-9a-z]+\\"/g, 'prepared statement (name)'),
  );
}

/** The files through psql: its standard output, and what it said on standard error. */
export async function throughPsql(
  target: PgTarget,
  files: readonly string[],
): Promise<{ out: string; err: string }> {
  const psql = requirePath('psql');
  let out = '';
  let err = '';
  for (const file of files) {
    const running = startProcess(
      psql,
      ['-X', '-a', '-v', 'ON_ERROR_STOP=0', '-v', 'VERBOSITY=verbose', '-f', file],
      {
        env: {
          PATH: process.env['PATH'],
          LC_ALL: 'C.UTF-8',
          PGHOST: target.host,
          PGPORT: String(target.port),
          PGUSER: target.user,
          PGPASSWORD: target.password,
          PGDATABASE: target.database,
          PGSSLMODE: 'disable',
        },
        keepOutputBytes: 256 * 1024 * 1024,
      },
    );
    const ended = await running.ended;
    out += running.stdout();
    err += running.stderr();
    if (ended !== 0) err += `psql ended with ${ended}\n`;
  }
  // "server process with PID 123" in notifications, and the oid-free rest is compared as it is.
  const pids = /(?<=server process with PID )\d+/g;
  return { out: out.replaceAll(pids, '(pid)'), err };
}

/** How many statements psql sends, as a guard against a script that silently became empty. */
export function statementsIn(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + (readFileSync(file, 'utf8').match(/;[ \t]*$/gm) ?? []).length, 0);
}
