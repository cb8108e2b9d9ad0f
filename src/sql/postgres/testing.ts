/** What the tests of this folder share. */
import type { Classification, StatementSpan } from '../../model/statement.ts';
import { defaultLexicalSettings, type LexicalSettings, type SqlDialect } from '../dialect.ts';

export const oldStrings: LexicalSettings = { ...defaultLexicalSettings, standardConformingStrings: false };

export function classifyText(
  dialect: SqlDialect,
  text: string | Buffer,
  settings = defaultLexicalSettings,
): Classification {
  const bytes = Buffer.from(text);
  return dialect.classify(bytes, 0, bytes.length, settings);
}

/** The pieces of the text, as text. */
export function splitText(dialect: SqlDialect, text: string, settings = defaultLexicalSettings): string[] {
  // Surrounded by bytes that a reader beyond its message would trip over.
  const bytes = Buffer.from(`';"${text}';"`);
  const end = bytes.length - 3;
  return dialect
    .split(bytes, 3, end, settings)
    .map((span: StatementSpan) => bytes.toString('utf8', span.start, span.end));
}

export function redactText(dialect: SqlDialect, text: string, settings = defaultLexicalSettings): string {
  const bytes = Buffer.from(text);
  const redaction = dialect.redactSecrets(bytes, 0, bytes.length, settings);
  if (redaction.redacted === redaction.text.equals(bytes))
    throw new Error(`redacted flag is wrong for: ${text}`);
  return redaction.text.toString();
}

/** The flags that hold, for compact expectations. */
export function flagsOf(what: Classification): string {
  if (!what.parsed) return 'unparsed';
  const flags = ['writes', 'ddl', 'copy', 'serverFiles', 'escapesReadOnly', 'resets', 'opaque'] as const;
  return flags.filter((flag) => what[flag]).join(' ');
}
