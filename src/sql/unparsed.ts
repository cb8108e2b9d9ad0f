import type { Classification } from '../model/statement.ts';

/** The classification of what could not be understood: refused under any control. */
export function unparsed(because: string): Classification {
  return {
    parsed: false,
    verb: '',
    writes: false,
    ddl: false,
    copy: false,
    serverFiles: false,
    escapesReadOnly: false,
    resets: false,
    opaque: false,
    because,
    tables: [],
    prepares: '',
    executes: '',
    transaction: 'none',
  };
}
