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

const COMMENT = String.raw`(?:\s|/\*[^!M][^]*?\*/|/\*\*/|(?:#|--[ \t])[^\n]*\n)`;
const KILL = new RegExp(
  String.raw`^(${COMMENT}*KILL${COMMENT}+(?:(?:HARD|SOFT)${COMMENT}+)?(?:(QUERY|CONNECTION)${COMMENT}+)?)(\d{1,10}|CONNECTION_ID${COMMENT}*\(${COMMENT}*\))(${COMMENT}*)$`,
  'i',
);

/** A KILL of one connection by number, or of oneself; `null` for all others (KILL USER, KILL QUERY ID, expressions). */
export function parseKill(text: string): Kill | null {
  const match = KILL.exec(text);
  if (!match) return null;
  const [, before, kind, target, after] = match;
  return {
    query: kind?.toUpperCase() === 'QUERY',
    id: /^\d/.test(target) ? Number(target) : null,
    before,
    after,
  };
}
