/**
 * Controls of a grant against what a statement may do. Pure: everything it knows, it is told.
 *
 * The parser's judgement is one of three layers under `read_only`; the other two (the server's own read-only
 * transactions, and its report of `default_transaction_read_only`) are the proxy's. What all of them together cannot
 * stop is written down in docs/read-only.md.
 */
import type { Control } from '../model/access.ts';
import type { Classification } from '../model/statement.ts';

export type Decision =
  | { readonly allow: true }
  | {
      readonly allow: false;
      readonly control: Control;
      /** One sentence for the client's error message; holds no literal of the statement. */
      readonly reason: string;
      /** What the user can do about it. */
      readonly hint: string;
    };

/** What a decision may need to know of the session. */
export interface PolicyContext {
  /**
   * The session was opened with `default_transaction_read_only=on` among its start-up parameters, so that RESET ALL and
   * DISCARD ALL (which connection pools send) come back to it. Default: no, and both are refused under read_only.
   */
  readonly readOnlyIsSessionDefault?: boolean;
  /**
   * The classification of a statement that *this session* prepared, by its name, whether by PREPARE or by a Parse
   * message. Without it, or for names it does not know, EXECUTE is refused under any control.
   */
  readonly prepared?: (name: string) => Classification | undefined;
}

const ALLOW: Decision = { allow: true };

/** Refused as soon as one of the controls refuses. No controls: everything is allowed, parsed or not. */
export function decide(
  classification: Classification,
  controls: readonly Control[],
  context: PolicyContext = {},
): Decision {
  for (const control of controls) {
    const denied = deniedBy(control, classification, context);
    if (denied) return denied;
  }
  return ALLOW;
}

function deniedBy(control: Control, what: Classification, context: PolicyContext): Decision | null {
  if (!what.parsed)
    return deny(
      control,
      `a statement that cannot be understood is refused under ${control}: ${what.because}`,
      'Check its syntax, or shorten it.',
    );
  if (what.opaque)
    return deny(
      control,
      `${what.because || what.verb} is refused under ${control}: it runs code that cannot be judged`,
      HINTS[control],
    );
  const own = RULES[control](what, context);
  if (own !== null) return deny(control, own, HINTS[control]);
  return what.executes === '' ? null : deniedExecute(control, what.executes, context);
}

/** EXECUTE is as good as what it executes. One level: what was prepared is never an EXECUTE itself. */
function deniedExecute(control: Control, name: string, context: PolicyContext): Decision | null {
  const prepared = context.prepared?.(name);
  if (prepared !== undefined && prepared.executes === '') return deniedBy(control, prepared, context);
  return deny(
    control,
    `EXECUTE is refused under ${control}: this session has not prepared a statement of that name`,
    'PREPARE it in this session first, or send the statement itself.',
  );
}

const RULES: Readonly<Record<Control, (what: Classification, context: PolicyContext) => string | null>> = {
  read_only: (what, context) => {
    if (what.escapesReadOnly)
      return `${what.because} would leave read-only mode, which this grant does not allow`;
    if (what.writes || what.ddl)
      return `${what.because || what.verb} may change data; this grant allows reading only`;
    if (what.serverFiles)
      return `${what.because} reaches the files of the server; this grant allows reading the database only`;
    if (what.resets && context.readOnlyIsSessionDefault !== true)
      return `${what.because} would leave read-only mode, which this grant does not allow`;
    return null;
  },
  block_copy: (what) =>
    what.copy || what.serverFiles ? `${what.because || 'COPY'} is not allowed by this grant` : null,
  block_ddl: (what) =>
    what.ddl ? `${what.because || what.verb} changes the schema, which this grant does not allow` : null,
};

const HINTS: Readonly<Record<Control, string>> = {
  read_only: 'Ask for a grant without read_only if you need to change data.',
  block_copy: 'Use SELECT instead, or ask for a grant without block_copy.',
  block_ddl: 'Ask for a grant without block_ddl if you need to change the schema.',
};

function deny(control: Control, reason: string, hint: string): Decision {
  return { allow: false, control, reason, hint };
}
