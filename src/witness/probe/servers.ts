/**
 * Which server a process belongs to. All processes of a server work in its data folder, so the folder tells them apart,
 * and what lies in it names the server: PostgreSQL's system identifier (global/pg_control, its first 8 bytes), MySQL's
 * server_uuid (auto.cnf). The uid is derived from both and from the host, so that it is the same after every restart.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { Engine } from '../../model/events.ts';
import type { ServerFacts } from './event-writer.ts';
import { fileKey } from './finder.ts';
import type { Inspected, ProbedEngine } from './inspected.ts';
import { containerOf, linkOf } from './processes.ts';

export const ENGINES: Readonly<Record<ProbedEngine, Engine>> = {
  postgres: Engine.POSTGRES,
  mysql: Engine.MYSQL,
  mariadb: Engine.MARIADB,
};

const MAX_PIDS = 100_000;

export class Servers {
  readonly #byFolder = new Map<string, ServerFacts>();
  /** What a process belonged to when it was last looked at. */
  readonly #byPid = new Map<number, ServerFacts>();
  readonly #host: string;

  constructor() {
    this.#host = readQuietly('/etc/machine-id').trim();
  }

  /** The server that a process of this binary belongs to; `null` when the process is gone. */
  of(pid: number, program: string, inspected: Inspected): ServerFacts | null {
    const folder = fileKey(`/proc/${pid}/cwd`);
    if (folder === null) return this.#byPid.get(pid) ?? null;
    const key = `${inspected.engine}:${folder}`;
    let server = this.#byFolder.get(key);
    if (server === undefined || server.buildId !== inspected.buildId) {
      server = this.#describe(pid, program, inspected, folder);
      this.#byFolder.set(key, server);
    }
    if (this.#byPid.size > MAX_PIDS) this.#byPid.clear();
    this.#byPid.set(pid, server);
    return server;
  }

  #describe(pid: number, program: string, inspected: Inspected, folder: string): ServerFacts {
    const systemIdentifier = inspected.engine === 'postgres' ? systemIdentifierOf(pid) : serverUuidOf(pid);
    const hash = createHash('sha256')
      .update([this.#host, inspected.engine, systemIdentifier, folder].join('\n'))
      .digest();
    // RFC 9562 §5.8: a UUID of our own making.
    hash[6] = 0x80 | (hash[6] & 0x0f);
    hash[8] = 0x80 | (hash[8] & 0x3f);
    const hex = hash.toString('hex', 0, 16);
    return {
      engine: ENGINES[inspected.engine],
      serverUid: [
        hex.slice(0, 8),
        hex.slice(8, 12),
        hex.slice(12, 16),
        hex.slice(16, 20),
        hex.slice(20),
      ].join('-'),
      program,
      version: inspected.version,
      buildId: inspected.buildId,
      systemIdentifier,
      pid,
      dataDirectory: linkOf(`/proc/${pid}/cwd`) ?? '',
      container: containerOf(pid),
    };
  }
}

function systemIdentifierOf(pid: number): string {
  try {
    const fd = openSync(`/proc/${pid}/cwd/global/pg_control`, 'r');
    try {
      const bytes = Buffer.alloc(8);
      return readSync(fd, bytes, 0, 8, 0) === 8 ? String(bytes.readBigUInt64LE()) : '';
    } finally {
      closeSync(fd);
    }
  } catch {
    return '';
  }
}

function serverUuidOf(pid: number): string {
  return /^server-uuid\s*=\s*([0-9a-f-]{36})/m.exec(readQuietly(`/proc/${pid}/cwd/auto.cnf`))?.[1] ?? '';
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
