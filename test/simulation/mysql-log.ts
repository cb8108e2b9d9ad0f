/**
 * The server's own account of what it ran: its general log, which has every command before it runs.
 *
 *   261121 14:04:49\t     8 Connect\twitnessed@127.0.0.1 on test using TCP/IP      MariaDB, MySQL 5.6
 *   \t\t     8 Query\tSELECT 1                                                     the same second
 *   2026-11-21T14:04:56.228577Z\t   12 Execute\tSELECT 'parameters are put in'     MySQL 9
 *
 * A text of several lines goes on in the next ones.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type MysqlServer, waitFor } from '../servers/index.ts';
import { normalised, type RunStatement } from './server-log.ts';

const ENTRY = /^(?:\d{6} [ \d]\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.]+Z|\t)\t *(\d+) ([A-Z][A-Za-z ]*)\t(.*)$/;

interface Entry {
  readonly id: number;
  readonly command: string;
  argument: string;
}

export class GeneralLog {
  readonly #server: MysqlServer;
  /** Connections of the user who is witnessed. */
  readonly #ids = new Set<number>();
  #offset = 0;
  #markers = 0;

  constructor(server: MysqlServer) {
    this.#server = server;
  }

  /**
   * The statements of `user` since the last call, in the order in which the server logged them. No connection of that
   * user may be left: the log is read up to a marker that is written now.
   */
  async statementsSince(user: string): Promise<RunStatement[]> {
    const marker = `marker ${++this.#markers}`;
    await this.#server.query(`SELECT '${marker}'`);
    const entries: Entry[] = [];
    await waitFor('the marker in the log', () => {
      this.#more(entries);
      return entries.some(({ argument }) => argument.includes(`'${marker}'`));
    });
    return entries.flatMap(({ id, command, argument }) => {
      if (command === 'Connect' && argument.startsWith(`${user}@`)) this.#ids.add(id);
      const isStatement = command === 'Query' || command === 'Execute';
      return isStatement && this.#ids.has(id)
        ? [{ pid: id, text: normalised(argument), parameters: '' }]
        : [];
    });
  }

  #more(entries: Entry[]): void {
    const file = openSync(this.#server.generalLog, 'r');
    try {
      const bytes = Buffer.alloc(fstatSync(file).size - this.#offset);
      readSync(file, bytes, 0, bytes.length, this.#offset);
      // A line that is not whole yet stays for the next look.
      const end = bytes.lastIndexOf(0x0a) + 1;
      this.#offset += end;
      for (const line of bytes.subarray(0, end).toString().split('\n').slice(0, -1)) {
        const [, id, command, argument] = ENTRY.exec(line) ?? [];
        if (id !== undefined) entries.push({ id: Number(id), command, argument });
        else if (entries.length > 0) entries[entries.length - 1].argument += `\n${line}`;
      }
    } finally {
      closeSync(file);
    }
  }
}
