/** Input that wants the parser dead: HOSTILE.md 16, 38 and what nobody listed. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.ts';
import { defaultLexicalSettings } from '../dialect.ts';
import { Classifier } from './classifier.ts';
import { loadPostgresDialect, type PostgresDialect } from './dialect.ts';
import { ParserInstance } from './instance.ts';
import { ParserPool } from './parser-pool.ts';
import { classifyText, flagsOf, oldStrings } from './testing.ts';

const nested = (open: string, count: number, middle = '1', close = ''): string =>
  `select ${open.repeat(count)}${middle}${close.repeat(count)}`;

/** Texts around what the parser's own limits (10,000 entries of its stack) and ours (the call stack) are. */
const DEEP: readonly (readonly [string, string])[] = [10, 1000, 3000, 5000, 9990, 12_000, 50_000].flatMap(
  (count) => [
    [`${count} (`, nested('(', count, '1', ')')] as const,
    [`${count} unclosed (`, nested('(', count)] as const,
    [`${count} subqueries`, nested('(select ', count, '1', ')')] as const,
    [`${count} sums`, nested('1+', count)] as const,
    [`${count} NOT`, nested('not ', count, 'true')] as const,
    [`${count} minus`, nested('- ', count, 'a')] as const,
    [`${count} calls`, nested('f(', count, '1', ')')] as const,
    [`${count} casts`, `select a${'::int'.repeat(count)}`] as const,
    [`${count} UNION`, `select 1${' union select 1'.repeat(count)}`] as const,
    [`${count} joins`, `select * from a${' join b on true'.repeat(count)}`] as const,
    [`${count} comments`, `select ${'/* '.repeat(count)}${'*/'.repeat(count)} 1`] as const,
    [`${count} CASE`, nested('case when true then ', count, '1', ' end')] as const,
    [`${count} WITH`, nested('(with a as (select 1) select ', count, '1', ')')] as const,
  ],
);

let dialect: PostgresDialect;
beforeAll(async () => {
  dialect = await loadPostgresDialect({ timeoutMs: 20_000 });
});
afterAll(() => dialect.close());

let asked = 0;
/** The parser answers as it should: nothing it was given before has left a trace. */
function expectSound(of: { classify: PostgresDialect['classify'] } = dialect): void {
  // Another text each time, so that no cache answers.
  const tag = ++asked;
  const ask = (text: string): string => {
    const bytes = Buffer.from(text);
    return flagsOf(of.classify(bytes, 0, bytes.length, defaultLexicalSettings));
  };
  expect(ask(`with x${tag} as (delete from t returning *) select * from x${tag}`)).toBe('writes');
  expect(ask(`select a${tag} from t`)).toBe('');
  expect(ask(`select a${tag} from from`)).toBe('unparsed');
}

describe('a parser in this thread', () => {
  it('survives any depth, and replaces an instance that broke', async () => {
    const parser = await ParserInstance.load();
    const classifier = new Classifier(parser, Number.MAX_SAFE_INTEGER);
    for (const [name, text] of DEEP) {
      const bytes = Buffer.from(text);
      const what = classifier.classify(bytes, 0, bytes.length, defaultLexicalSettings);
      if (what.parsed) expect(flagsOf(what), name).toBe('');
      await parser.ready();
      expectSound(classifier);
    }
    // Otherwise this test has not tried what it is about.
    expect(parser.broken).toBeGreaterThan(5);
  });

  it('is never without an answer when several break in one turn', async () => {
    const parser = await ParserInstance.load();
    const classifier = new Classifier(parser, Number.MAX_SAFE_INTEGER);
    for (let i = 0; i < 6; i++) {
      const bytes = Buffer.from(`select ${i}${'+1'.repeat(100_000)}`);
      expect(classifier.classify(bytes, 0, bytes.length, defaultLexicalSettings).parsed).toBe(false);
    }
    // All spares are gone; this says nothing of the text, so it must not be remembered.
    const text = Buffer.from('select 1 from t');
    expect(classifier.classify(text, 0, text.length, defaultLexicalSettings).parsed).toBe(false);
    await parser.ready();
    expect(classifier.classify(text, 0, text.length, defaultLexicalSettings).parsed).toBe(true);
    expectSound(classifier);
  });

  it('does not grow', async () => {
    const parser = await ParserInstance.load();
    const classifier = new Classifier(parser, Number.MAX_SAFE_INTEGER);
    const run = (count: number): void => {
      for (let i = 0; i < count; i++) {
        const bytes = Buffer.from(`select a${i}, '${'x'.repeat(500)}' from ${i % 2 ? 'from' : 't'}`);
        classifier.classify(bytes, 0, bytes.length, defaultLexicalSettings);
      }
    };
    run(2000);
    const before = parser.heapBytes;
    run(20_000);
    expect(parser.heapBytes).toBe(before);
  });

  it('takes what is no text', () => {
    for (const bytes of [
      Buffer.alloc(2000, 0xff),
      Buffer.from([0xc3]),
      Buffer.from('select "\u00e9'.repeat(3), 'latin1'),
      Buffer.concat([Buffer.from("select '"), Buffer.from([0xc3, 0x28, 0xff, 0xfe]), Buffer.from("'")]),
      Buffer.from('\0select 1'),
      Buffer.from('select 1\0'),
      Buffer.alloc(8000),
      Buffer.from(`select ${'x'.repeat(8000)}`),
      Buffer.from(`select "${'é'.repeat(3000)}"`),
      Buffer.from('$'.repeat(8000)),
      Buffer.from("'".repeat(8001)),
      Buffer.from('select $999999999999999999999'),
      Buffer.from("select E'\\u0000', U&'\\D800', E'\\xff'"),
    ])
      for (const settings of [
        defaultLexicalSettings,
        oldStrings,
        { standardConformingStrings: false, clientEncoding: 'GB18030' },
      ]) {
        classifyText(dialect, bytes, settings);
        dialect.split(bytes, 0, bytes.length, settings);
        dialect.redactSecrets(bytes, 0, bytes.length, settings);
        dialect.fingerprint(bytes.toString());
        expectSound();
      }
  });
});

const fragments = [
  'select',
  'insert into',
  'update',
  'delete from',
  'with',
  'as',
  'from',
  'where',
  'set',
  'create function',
  'begin',
  'begin atomic',
  'end',
  'case',
  'do',
  'copy',
  'explain analyze',
  'password',
  'passw',
  "'",
  "''",
  '"',
  '$$',
  '$a$',
  "E'",
  "U&'",
  "B'",
  'U&"',
  '\\',
  "\\'",
  '--',
  '/*',
  '*/',
  '\n',
  ';',
  '(',
  ')',
  '[',
  ']',
  ',',
  '.',
  '..',
  '+',
  '::',
  '$1',
  '1',
  '1.5',
  '0x1f',
  'é',
  '\0',
  't',
  'x',
  '=',
  'null',
  "nextval('s')",
  "set_config('role', 'x', false)",
  'in',
  '::int',
];
const scrambled = fc
  .array(
    fc.oneof(
      { arbitrary: fc.constantFrom(...fragments), weight: 10 },
      { arbitrary: fc.string({ maxLength: 5 }), weight: 1 },
    ),
    { maxLength: 40 },
  )
  .chain((parts) => fc.constantFrom(parts.join(' '), parts.join('')))
  .map((text) => Buffer.from(text));
const garbage = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const settings = fc.record({
  standardConformingStrings: fc.boolean(),
  clientEncoding: fc.constantFrom('UTF8', 'LATIN1', 'SJIS', 'BIG5', 'GB18030', 'JOHAB', 'nonsense'),
});

describe('fuzzing', () => {
  // DBW_FUZZ_RUNS for long runs; fast-check prints the seed of a failure.
  const numRuns = Number(process.env['DBW_FUZZ_RUNS'] ?? 3000);

  it('never throws, never reads beyond its message, never leaves a broken parser', () => {
    let runs = 0;
    fc.assert(
      fc.property(fc.oneof(scrambled, garbage), settings, (text, lexical) => {
        const length = text.length;
        const padded = Buffer.concat([Buffer.from("';$$"), text, Buffer.from("';$$--")]);
        const alone = dialect.split(text, 0, length, lexical);
        const within = dialect.split(padded, 4, 4 + length, lexical);
        expect(within.map((span) => ({ start: span.start - 4, end: span.end - 4 }))).toEqual(alone);
        let last = 0;
        for (const span of alone) {
          expect(span.start).toBeGreaterThanOrEqual(last);
          expect(span.end).toBeGreaterThan(span.start);
          last = span.end;
          dialect.classify(text, span.start, span.end, lexical);
        }
        expect(last).toBeLessThanOrEqual(length);
        const what = dialect.classify(padded, 4, 4 + length, lexical);
        const fresh = dialect.classify(text, 0, length, lexical);
        expect(what).toEqual(fresh);
        const redacted = dialect.redactSecrets(padded, 4, 4 + length, lexical);
        expect(redacted.text).toEqual(dialect.redactSecrets(text, 0, length, lexical).text);
        if (runs++ % 50 === 0) expectSound();
      }),
      { numRuns },
    );
    expectSound();
  });

  it('splits what parses into as many pieces as it has statements, each parsing by itself', async () => {
    const parser = await ParserInstance.load();
    const count = (text: Buffer): number | null => {
      const tree = text.includes(0) ? null : parser.parse(text, 0, text.length);
      return tree === null ? null : (JSON.parse(tree) as { stmts: unknown[] }).stmts.length;
    };
    const statements = fc.constantFrom(
      'select 1',
      'select \';\' as "a;b"',
      'select $$;$$',
      "select E'\\';'",
      'begin',
      'end',
      'select begin atomic from t',
      'create rule r as on insert to t do also (select 1; select 2;)',
      '',
      ' ',
      '-- ;\n',
      '/* ; /* ; */ */',
      'select (1)',
      'select 1 end',
      'create or replace function f(a int default (1)) returns int language sql begin atomic select 1; select case when true then 1 end; end',
      'create procedure p() begin atomic end',
      "create function f() returns int as ';' language sql",
      "select 'a'\n';b'",
      'select a[1], (2)',
      'create function f() returns int begin atomic create function g() returns int begin atomic select 1; end; select 2; end',
      'create function begin() returns int return 1',
      'create table begin (atomic int)',
      'declare c cursor for select 1',
    );
    const texts = fc.array(statements, { maxLength: 6 }).map((parts) => Buffer.from(parts.join(';')));
    let parsed = 0;
    fc.assert(
      fc.property(fc.oneof({ arbitrary: texts, weight: 4 }, { arbitrary: scrambled, weight: 1 }), (text) => {
        const expected = count(text);
        if (expected === null) return;
        parsed++;
        const spans = dialect.split(text, 0, text.length);
        expect(spans.length).toBe(expected);
        for (const span of spans) expect(count(text.subarray(span.start, span.end))).toBe(1);
      }),
      { numRuns },
    );
    expect(parsed).toBeGreaterThan(numRuns / 2);
  });
});

describe('ParserPool', () => {
  const pools: ParserPool[] = [];
  const poolOf = (options: ConstructorParameters<typeof ParserPool>[0]): ParserPool => {
    const pool = new ParserPool(options);
    pools.push(pool);
    return pool;
  };
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close()));
  });
  const ask = async (pool: ParserPool, text: string): Promise<string> => {
    const bytes = Buffer.from(`xx${text}yy`);
    const answer = pool.classify(bytes, 2, bytes.length - 2, defaultLexicalSettings);
    bytes.fill(0); // it has its own copy
    return flagsOf(await answer);
  };
  const values = (count: number): string =>
    `insert into t values ${Array.from({ length: count }, (_, i) => `(${i}, 'x')`).join(',')}`;

  it('parses a megabyte', async () => {
    const pool = poolOf({ timeoutMs: 50_000 });
    const text = values(90_000);
    expect(text.length).toBeGreaterThan(1_000_000);
    expect(await ask(pool, text)).toBe('writes');
    expect(await ask(pool, `select '${'x'.repeat(1_000_000)}'`)).toBe('');
    expect(await ask(pool, `select '${'x'.repeat(1_000_000)}', nextval('s')`)).toBe('writes');
  });

  it('answers unparsed for what breaks the parser, and goes on', async () => {
    const pool = poolOf({ timeoutMs: 50_000 });
    expect(await ask(pool, `select 1${'+1'.repeat(500_000)}`)).toBe('unparsed');
    expect(await ask(pool, '('.repeat(1_000_000))).toBe('unparsed');
    expect(await ask(pool, 'select 1\0')).toBe('unparsed');
    expect(await ask(pool, 'delete from t')).toBe('writes');
  });

  it('ends a worker that is late, and starts another', async () => {
    const pool = poolOf({ timeoutMs: 1 });
    // A new worker has to load its parser first, which takes longer than a millisecond.
    const late = await pool.classify(Buffer.from('select 1'), 0, 8, defaultLexicalSettings);
    expect(late.parsed).toBe(false);
    expect(late.because).toMatch(/took too long/);
    const patient = poolOf({ timeoutMs: 50_000 });
    expect(await ask(patient, 'select 1')).toBe('');
  });

  it('gets what the lexer would take too long for, however short', async () => {
    const text = Buffer.from(`select ${'/*'.repeat(1000)}${'*/'.repeat(1000)} nextval('s')`);
    expect(dialect.classify(text, 0, text.length).parsed).toBe(false);
    expect(flagsOf(await dialect.classifyLong(text, 0, text.length))).toBe('writes');
  });

  it('has bounds', async () => {
    const pool = poolOf({ workers: 1, maxWaiting: 2, maxTextBytes: 100, timeoutMs: 50_000 });
    const answers = await Promise.all(
      ['select 1', 'select 2', 'select 3', 'select 4', 'select 5', `select ${'1,'.repeat(100)}1`].map(
        (text) => ask(pool, text),
      ),
    );
    expect(answers).toEqual(['', '', '', 'unparsed', 'unparsed', 'unparsed']);
    const heavy = poolOf({ workers: 1, maxWaitingBytes: 10, timeoutMs: 50_000 });
    expect(await ask(heavy, 'select 1 from t')).toBe('unparsed');
    await pool.close();
    expect(await ask(pool, 'select 1')).toBe('unparsed');
  });

  it('is what classifyLong uses, once for each text', async () => {
    const text = Buffer.from(`${values(1000)} returning nextval('s')`);
    expect(text.length).toBeGreaterThan(limits.maxInlineParseBytes);
    expect(dialect.classify(text, 0, text.length).parsed).toBe(false);
    const what = await dialect.classifyLong(text, 0, text.length);
    expect(flagsOf(what)).toBe('writes');
    // Known from now on, without waiting.
    expect(dialect.classify(text, 0, text.length)).toEqual(what);
    const short = Buffer.from('delete from t');
    expect(flagsOf(await dialect.classifyLong(short, 0, short.length))).toBe('writes');
  });

  it('does not keep what another session would read differently', async () => {
    const text = Buffer.from(`select '\\', nextval($$s$$) --', ${'1,'.repeat(5000)}1`);
    expect(flagsOf(await dialect.classifyLong(text, 0, text.length, oldStrings))).toBe('');
    expect(flagsOf(await dialect.classifyLong(text, 0, text.length))).toBe('writes');
    expect(flagsOf(await dialect.classifyLong(text, 0, text.length, oldStrings))).toBe('');
  });
});

describe('fingerprint', () => {
  it('is what texts have in common that differ in constants', () => {
    const a = dialect.fingerprint('select a from t where b = 1');
    expect(a).toMatch(/^[0-9a-f]{16}$/);
    expect(dialect.fingerprint("SELECT a FROM t\nWHERE b = 'x'")).toBe(a);
    expect(dialect.fingerprint('select a from t where c = 1')).not.toBe(a);
  });

  it('is empty for what does not parse', () => {
    expect(dialect.fingerprint('select from where')).toBe('');
    expect(dialect.fingerprint('select 1\0')).toBe('');
    expect(dialect.fingerprint(nested('(select ', 3000, '1', ')'))).toMatch(/^$|^[0-9a-f]{16}$/);
    expectSound();
  });
});
