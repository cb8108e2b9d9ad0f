/** The server's own account of what it ran: its JSON log (PostgreSQL 15) with `log_statement = all`. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { type PostgresServer, waitFor } from '../servers/index.ts';

export const LOG_SETTINGS = {
  log_statement: 'all',
  log_destination: 'jsonlog',
  logging_collector: 'on',
  log_directory: 'log',
  log_filename: 'chaos.log',
  log_rotation_age: '0',
  log_rotation_size: '0',
  log_parameter_max_length: '-1',
};

/** One statement as it was run. */
export interface RunStatement {
  /** The backend. */
  readonly pid: number;
  readonly text: string;
  /** `'1', NULL, 'x'` as the server writes parameters; empty without any. */
  readonly parameters: string;
}

interface LogLine {
  readonly pid?: number;
  readonly user?: string;
  readonly message?: string;
  readonly detail?: string;
}

/** What dbwitness asks the server by itself (the transaction id behind a write). It is not a statement of anybody. */
const OWN_STATEMENT = 'SELECT pg_catalog.txid_current_if_assigned()';

export class ServerLog {
  readonly #server: PostgresServer;
  readonly #path: string;
  #offset = 0;
  #markers = 0;

  constructor(server: PostgresServer) {
    this.#server = server;
    this.#path = join(server.dataDir, 'log', 'chaos.json');
  }

  /**
   * The statements of `user` since the last call, in the order in which the server logged them. No backend of that user
   * may be left: the log is read up to a marker that is written now.
   */
  async statementsSince(user: string): Promise<RunStatement[]> {
    const marker = `marker ${++this.#markers}`;
    await this.#server.query(`SELECT '${marker}'`);
    const lines: LogLine[] = [];
    await waitFor('the marker in the log', () => {
      lines.push(...this.#more());
      return lines.some((line) => line.message?.includes(`'${marker}'`));
    });
    return lines.flatMap((line) => (line.user === user ? statementOf(line) : []));
  }

  #more(): LogLine[] {
    const file = openSync(this.#path, 'r');
    try {
      const bytes = Buffer.alloc(fstatSync(file).size - this.#offset);
      readSync(file, bytes, 0, bytes.length, this.#offset);
      // A character cut in two stays for the next look.
      const end = bytes.lastIndexOf(0x0a) + 1;
      this.#offset += end;
      return bytes
        .subarray(0, end)
        .toString()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as LogLine);
    } finally {
      closeSync(file);
    }
  }
}

function statementOf(line: LogLine): RunStatement[] {
  const match = /^(?:statement|execute (?:fetch from )?[^:]+): (.*)$/s.exec(line.message ?? '');
  if (match === null || line.pid === undefined) return [];
  const text = normalised(match[1]);
  if (text === OWN_STATEMENT) return [];
  const detail = line.detail ?? '';
  // "parameters: $1 = '1', $2 = NULL"; PostgreSQL 16 and later write "Parameters".
  const parameters = /^parameters: /i.test(detail) ? detail.slice(12).replaceAll(/\$\d+ = /g, '') : '';
  return [{ pid: line.pid, text, parameters }];
}

/** pgbench ends its statements with a semicolon, which dbwitness does not record as a part of them. */
export function normalised(text: string): string {
  return text.trim().replace(/;$/, '').trim();
}
