/** Input that wants the lexer lost: HOSTILE.md 45–48, 52 and what nobody listed. The corpus in test/corpus has the rest. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LexicalSettings } from '../dialect.ts';
import { flagsOf } from '../postgres/testing.ts';
import { loadMysqlDialect, type MysqlDialect } from './dialect.ts';

const dialects: readonly MysqlDialect[] = [loadMysqlDialect('mysql'), loadMysqlDialect('mariadb')];

const FRAGMENTS = [
  'select',
  'insert into',
  'update',
  'delete from',
  'with',
  'as',
  'from',
  'where',
  'set',
  'create procedure p()',
  'begin',
  'begin not atomic',
  'end',
  'end if',
  'if',
  'case',
  'loop',
  'while',
  'do',
  'repeat',
  'until',
  'then',
  'else',
  'explain analyze',
  'prepare p from',
  'execute',
  'into outfile',
  'for update',
  'identified by',
  'password',
  'names gbk',
  "'",
  "''",
  '"',
  '""',
  '`',
  '``',
  '\\',
  "\\'",
  '--',
  '-- ',
  '#',
  '/*',
  '*/',
  '/*!',
  '/*!50000',
  '/*!99999',
  '/*M!',
  '/*+',
  '$$',
  '$a$',
  '@',
  '@@',
  "x'",
  "N'",
  '\n',
  ';',
  '(',
  ')',
  ',',
  '.',
  '=',
  ':=',
  '1',
  '1e1',
  '0x4',
  '.5',
  'é',
  '\0',
  't',
  'x',
  "get_lock('a', 1)",
  'sql_mode',
  'transaction_read_only = 0',
  'global',
  'load_file(1)',
  'user',
  "'hunter2'",
];
const scrambled = fc
  .array(
    fc.oneof(
      { arbitrary: fc.constantFrom(...FRAGMENTS), weight: 10 },
      { arbitrary: fc.string({ maxLength: 5 }), weight: 1 },
    ),
    { maxLength: 40 },
  )
  .chain((parts) => fc.constantFrom(parts.join(' '), parts.join('')))
  .map((text) => Buffer.from(text));
const garbage = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const settings: fc.Arbitrary<LexicalSettings> = fc.record({
  standardConformingStrings: fc.boolean(),
  clientEncoding: fc.constantFrom(
    'UTF8',
    'utf8mb4',
    'latin1',
    'sjis',
    'big5',
    'gbk',
    'gb18030',
    'ujis',
    '',
    'nonsense',
  ),
  sqlMode: fc.constantFrom(null, '', 'ANSI_QUOTES', 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES', 'ORACLE'),
});

describe('fuzzing', () => {
  // DBW_FUZZ_RUNS for long runs; fast-check prints the seed of a failure.
  const numRuns = Number(process.env['DBW_FUZZ_RUNS'] ?? 3000);

  it.each(dialects)('never throws, and never reads beyond its message', (dialect) => {
    fc.assert(
      fc.property(fc.oneof(scrambled, garbage), settings, (text, lexical) => {
        const { length } = text;
        const padded = Buffer.concat([Buffer.from("';`/*"), text, Buffer.from("*/';$$--")]);
        const alone = dialect.split(text, 0, length, lexical);
        const within = dialect.split(padded, 5, 5 + length, lexical);
        expect(within.map((span) => ({ start: span.start - 5, end: span.end - 5 }))).toEqual(alone);
        let last = 0;
        for (const span of alone) {
          expect(span.start).toBeGreaterThanOrEqual(last);
          expect(span.end).toBeGreaterThan(span.start);
          last = span.end;
        }
        expect(last).toBeLessThanOrEqual(length);
        const fresh = loadMysqlDialect(dialect.engine);
        expect(dialect.classify(padded, 5, 5 + length, lexical)).toEqual(
          fresh.classify(text, 0, length, lexical),
        );
        const redacted = dialect.redactSecrets(padded, 5, 5 + length, lexical);
        expect(redacted.text).toEqual(dialect.redactSecrets(text, 0, length, lexical).text);
        expect(dialect.fingerprint(text.toString())).toMatch(/^([0-9a-f]{16})?$/);
      }),
      { numRuns },
    );
  });

  it.each(dialects)('finds in the pieces what it finds in the whole', (dialect) => {
    const order = ['writes', 'ddl', 'copy', 'serverFiles', 'escapesReadOnly', 'opaque'] as const;
    fc.assert(
      fc.property(scrambled, settings, (text, lexical) => {
        const whole = dialect.classify(text, 0, text.length, lexical);
        const pieces = dialect
          .split(text, 0, text.length, lexical)
          .map((span) => dialect.classify(text, span.start, span.end, lexical));
        // Whoever asks about each piece is told of everything that may happen.
        if (pieces.some((piece) => !piece.parsed)) return;
        for (const flag of order)
          if (whole.parsed && whole[flag])
            expect(
              pieces.some((piece) => piece[flag]),
              flag,
            ).toBe(true);
      }),
      { numRuns },
    );
  });
});

describe('a shape', () => {
  const constants = fc.constantFrom(
    '1',
    '42',
    "'x'",
    "''",
    "'it''s'",
    "'; DROP TABLE t; -- '",
    "'é'",
    "'/* '",
    '0',
  );
  const parts = fc.constantFrom(
    ...FRAGMENTS.filter((part) => !/[\\'"]/.test(part)),
    ' = ',
    ' , ',
    ' (',
    'and',
    'union select',
  );

  it('is that of texts that are judged alike', () => {
    let shared = 0;
    fc.assert(
      fc.property(
        fc.constantFrom('select', 'insert into t', 'update t set', 'delete from', 'set', 'prepare p from'),
        fc.array(fc.tuple(parts, fc.constantFrom('', ' ')), { maxLength: 12 }),
        fc.array(constants, { minLength: 30, maxLength: 30 }),
        (verb, rest, values) => {
          // Texts of one shape, mostly: the same words around other constants.
          const make = (offset: number): Buffer =>
            Buffer.from(
              `${verb} ${rest.map(([part, space], i) => `${part}${space}${values[offset + i]} `).join('')}`,
            );
          const dialect = loadMysqlDialect('mariadb');
          const one = make(0);
          const two = make(12);
          dialect.classify(one, 0, one.length);
          const before = dialect.reads;
          const answer = dialect.classify(two, 0, two.length);
          if (dialect.reads > before) return;
          shared++;
          expect(answer).toEqual(loadMysqlDialect('mariadb').classify(two, 0, two.length));
        },
      ),
      { numRuns: 5000 },
    );
    expect(shared).toBeGreaterThan(20);
  });
});

describe('time and memory', () => {
  const SIZE = 1_000_000;
  const fill = (piece: string): Buffer => Buffer.from(piece.repeat(Math.ceil(SIZE / piece.length)));
  const LONG: readonly string[] = [
    '(',
    ')',
    "'",
    '"',
    '`',
    '\\',
    '/*',
    '*/',
    '/*!',
    '/*!50000 ',
    '/* ',
    '-- ',
    '--',
    '#',
    '$$',
    '$a',
    '@',
    '.',
    '1e',
    ';',
    ',',
    "\\'",
    "''",
    'select ',
    'begin ',
    'case ',
    'if(',
    'a.',
    'set a = 1, ',
    'identified by ',
    "'password' ",
    'é',
    '\0',
    "('x'),",
    'x y ',
    '/*!50001 a*/ ',
  ];

  it.each(LONG)('a megabyte of %j takes linear time', (piece) => {
    const dialect = loadMysqlDialect('mariadb');
    const began = process.cpuUsage();
    for (const start of [
      '',
      'select ',
      "create user 'a",
      'create procedure p() begin ',
      "set @password = '",
    ]) {
      const text = Buffer.concat([Buffer.from(start), fill(piece)]);
      dialect.split(text, 0, text.length);
      dialect.redactSecrets(text, 0, text.length);
      dialect.fingerprint(text.toString());
      dialect.classify(text, 0, text.length);
    }
    const { user } = process.cpuUsage(began);
    // 5 MB in several passes; anything quadratic takes minutes.
    expect(user / 1000).toBeLessThan(8000);
  });

  it('judges a megabyte in a thread', async () => {
    const dialect = loadMysqlDialect('mysql', { timeoutMs: 20_000 });
    for (const [piece, expected] of [
      ["('x'),", 'writes'],
      ["('it\\'s'),", 'writes'],
    ] as const) {
      const text = Buffer.concat([Buffer.from('insert into t values '), fill(piece), Buffer.from('(1)')]);
      expect(flagsOf(await dialect.classifyLong(text, 0, text.length))).toBe(expected);
    }
    await dialect.close();
  });
});
