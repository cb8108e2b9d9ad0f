/** The script of some hundred statements: `script/*.sql`, one entry per paragraph, and the ones with parameters. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DIR = fileURLToPath(new URL('script/', import.meta.url));

export const SCRIPT_FILES: readonly string[] = readdirSync(DIR)
  .filter((name) => name.endsWith('.sql') && name !== 'psql.sql')
  .toSorted()
  .map((name) => `${DIR}${name}`);

/** psql's own commands. */
export const PSQL_FILE = `${DIR}psql.sql`;

/** Every entry, in order; some hold several statements for one Query message. */
export const ENTRIES: readonly string[] = SCRIPT_FILES.flatMap((file) =>
  readFileSync(file, 'utf8')
    .trim()
    .split(/\n{2,}/),
);

export interface Parameterised {
  readonly sql: string;
  readonly params: readonly (string | number | boolean | null | Buffer)[];
}

const types = [
  ...['smallint', 'integer', 'bigint', 'numeric', 'real', 'float8', 'oid', 'money'].map((type) => [
    type,
    '42',
  ]),
  ...['text', 'varchar', 'bpchar', 'name', 'json', 'jsonb'].map((type) => [type, '"Ünï 🙂"']),
  ['boolean', 'true'],
  ['bytea', '\\x00ff41'],
  ['date', '2024-02-29'],
  ['time', '12:34:56.7'],
  ['timetz', '12:34:56+02'],
  ['timestamp', '2024-02-29 12:34:56'],
  ['timestamptz', '2024-02-29 12:34:56+00'],
  ['interval', '1 mon 2 days'],
  ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ['inet', '10.0.0.1/8'],
  ['macaddr', '08:00:2b:01:02:03'],
  ['point', '(1,2)'],
  ['varbit', '10101'],
  ['tsvector', "'a' 'b'"],
  ['xml', '<x/>'],
  ['int[]', '{1,NULL,3}'],
  ['text[]', '{a,"b,c",NULL}'],
  ['int4range', '[1,5)'],
] as const;

/** Statements with parameters, for drivers that bind them. They need none of the script's tables. */
export const PARAMETERISED: readonly Parameterised[] = [
  ...types.map(([type, value]) => ({
    sql: `SELECT $1::${type} AS value, $2::${type} IS NULL`,
    params: [value, null],
  })),
  { sql: 'SELECT $1 AS untyped', params: ['as text'] },
  { sql: 'SELECT $1::int + $2::int', params: [1, 2] },
  { sql: 'SELECT $2::text, $1::text, $2::text', params: ['first', 'second'] },
  { sql: 'SELECT $1::bytea, length($1::bytea)', params: [Buffer.from([0, 1, 2, 255])] },
  { sql: 'SELECT length($1::text)', params: ['x'.repeat(300_000)] },
  { sql: 'SELECT g FROM generate_series($1::int, $2::int) g', params: [1, 1000] },
  { sql: 'CREATE TABLE bound (id int PRIMARY KEY, t text)', params: [] },
  { sql: 'INSERT INTO bound VALUES ($1, $2) RETURNING *', params: [1, 'eins'] },
  { sql: 'INSERT INTO bound VALUES ($1, $2)', params: [1, 'again'] },
  { sql: 'INSERT INTO bound SELECT g, $1 FROM generate_series(10, 20) g', params: ['many'] },
  { sql: 'UPDATE bound SET t = $2 WHERE id > $1', params: [15, null] },
  { sql: 'SELECT * FROM bound WHERE t IS NOT DISTINCT FROM $1 ORDER BY id', params: [null] },
  { sql: 'DELETE FROM bound WHERE id = ANY ($1::int[]) RETURNING id', params: ['{10,11,99}'] },
  { sql: 'SELECT * FROM bound WHERE id = $1', params: ['not a number'] },
  { sql: 'SELECT 1 / $1::int', params: [0] },
  { sql: 'SELECT $1::date', params: ['2024-02-30'] },
  { sql: 'SELECT $3::int', params: [1, 2, 3] },
  { sql: 'SELECT 1', params: [1] },
  { sql: 'SELECT $1, $2', params: ['one'] },
  { sql: 'SELECT 1; SELECT $1', params: ['x'] },
  { sql: 'NOT SQL $1', params: ['x'] },
  { sql: 'SET work_mem = $1', params: ['4MB'] },
  { sql: "SELECT set_config('work_mem', $1, false)", params: ['5MB'] },
  { sql: '', params: [] },
  { sql: 'DROP TABLE bound', params: [] },
];
