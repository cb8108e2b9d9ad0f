/** Texts that a worker has split and redacted (`WholeCommand.read`), as the loop takes them. */
import type { StatementSpan } from '../../../model/statement.ts';
import type { Redaction } from '../../../sql/dialect.ts';
import type { WholeCommand } from './frontend.ts';

const SEPARATOR = Buffer.from(';\n');
/** Recorded of a refused text that nobody has read. */
export const HEAD_BYTES = 1024;

/** What a worker has made of one span of a text. */
export function redactionOf(whole: WholeCommand, span: StatementSpan, at: number): Redaction {
  const redacted = whole.read?.redacted[at] ?? null;
  if (redacted === null) return { text: whole.payload.subarray(span.start, span.end), redacted: false };
  return { text: Buffer.from(redacted.buffer, redacted.byteOffset, redacted.byteLength), redacted: true };
}

/** All statements of a text that a worker has read, without what stands between them. */
export function joined(whole: WholeCommand, textStart: number): Redaction {
  const spans = whole.read?.spans ?? [];
  const texts = spans.map(({ start, end }, at) =>
    redactionOf(whole, { start: textStart + start, end: textStart + end }, at),
  );
  if (texts.length === 1) return texts[0];
  const pieces = texts.flatMap(({ text }, at) => (at === 0 ? [text] : [SEPARATOR, text]));
  return { text: Buffer.concat(pieces), redacted: texts.some(({ redacted }) => redacted) };
}
