/** KILL, as the two families spell it. */

export interface Kill {
  /** Only the statement that runs. */
  readonly query: boolean;
  /** `null`: CONNECTION_ID(), oneself. */
  readonly id: number | null;
  /** The text around the number, to be put around another one. */
  readonly before: string;
  readonly after: string;
}

/**
 * White space, or a comment that is none of the versioned ones. A comment ends where it first can, in one way only: a
 * pattern that could go on behind that would take SQL for a comment, and try every combination of comments on a text that fits none.
 */
export const GAP: string = String.raw`(?:[ \t\n\v\f\r]|/\*(?![!M])[^*]*\*+(?:[^/*][^*]*\*+)*/|(?:#|--[ \t])[^\n]*\n)`;
/** Statements that are looked at with patterns are short. */
export const MAX_PATTERN_CHARS = 4096;
const KILL = new RegExp(
  String.raw`^(${GAP}*KILL${GAP}+(?:(?:HARD|SOFT)${GAP}+)?(?:(QUERY|CONNECTION)${GAP}+)?)(\d{1,10}|CONNECTION_ID${GAP}*\(${GAP}*\))(${GAP}*)$`,
  'i',
);

/** A KILL of one connection by number, or of oneself; `null` for all others (KILL USER, KILL QUERY ID, expressions). */
export function parseKill(text: string): Kill | null {
  const match = text.length > MAX_PATTERN_CHARS ? null : KILL.exec(text);
  if (!match) return null;
  const [, before, kind, target, after] = match;
  return {
    query: kind?.toUpperCase() === 'QUERY',
    id: /^\d/.test(target) ? Number(target) : null,
    before,
    after,
  };
}

/** Whether a text is one KILL and nothing else. */
export function isKill(bytes: Buffer, start: number, end: number): boolean {
  return end - start <= MAX_PATTERN_CHARS && parseKill(bytes.toString('latin1', start, end)) !== null;
}
