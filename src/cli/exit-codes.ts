/** Exit codes: one table from the kind of a failure, for every command. docs/cli.md has it for people. */
import type { ErrorKind } from '../base/errors.ts';

/** `corrupt` shares 1 with `verify`'s "broken". */
export const EXIT_BY_KIND: Readonly<Record<ErrorKind, number>> = {
  corrupt: 1,
  invalid: 2,
  denied: 3,
  'not-found': 4,
  conflict: 5,
  unavailable: 6,
  exhausted: 7,
  protocol: 8,
};

/** A bug of ours: sysexits' EX_SOFTWARE. */
export const EXIT_BUG = 70;
