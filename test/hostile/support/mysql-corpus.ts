/**
 * A MySQL or MariaDB server with the fixture of the read-only corpus, people who reach it through dbwitness under one
 * control each, and a look at everything that a write would change there.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql, { type Connection } from 'mysql2/promise';
import type { Control } from '../../../src/model/access.ts';
import { Capability as C } from '../../../src/wire/mysql/protocol.ts';
import { type Packet, RawMysql, type RawTarget, uint32 } from '../../conformance/mysql/raw-client.ts';
import { FIXTURE, MARIADB_FIXTURE } from '../../corpus/mysql-read-only.ts';
import {
  type Access,
  type Dbwitness,
  type MysqlServer,
  type MysqlServerOptions,
  startMariadb,
  startMysql,
} from '../../servers/index.ts';

const OPTIONS: MysqlServerOptions = {
  logStatements: true,
  settings: {
    secure_file_priv: '',
    log_bin: 'corpus',
    binlog_format: 'ROW',
    server_id: '7',
    log_bin_trust_function_creators: '1',
  },
};

export const CORPUS_SERVERS = {
  mariadb: () => startMariadb(OPTIONS),
  'mariadb-11.8': () => startMariadb({ ...OPTIONS, version: '11.8' }),
  'mysql-9.7': () => startMysql(OPTIONS),
  'mysql-5.6': () => startMysql({ ...OPTIONS, version: '5.6' }),
} as const;
export type CorpusServerName = keyof typeof CORPUS_SERVERS;

const OWN = "IN ('corpus', 'elsewhere', 'n')";
const FACTS: Readonly<Record<string, string>> = {
  tables: `SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema ${OWN} ORDER BY 1, 2`,
  columns: `SELECT table_schema, table_name, column_name, column_type FROM information_schema.columns WHERE table_schema ${OWN} ORDER BY 1, 2, 3`,
  indexes: `SELECT table_name, index_name FROM information_schema.statistics WHERE table_schema ${OWN} ORDER BY 1, 2`,
  databases: 'SHOW DATABASES',
  routines: `SELECT routine_name FROM information_schema.routines WHERE routine_schema ${OWN} ORDER BY 1`,
  triggers: `SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema ${OWN}`,
  events: `SELECT event_name FROM information_schema.events WHERE event_schema ${OWN}`,
  accounts:
    'CHECKSUM TABLE mysql.global_priv, mysql.user, mysql.db, mysql.tables_priv, mysql.func, mysql.plugin',
  rows: 'CHECKSUM TABLE corpus.t, corpus.u, corpus.m, elsewhere.t',
  variables: 'SHOW GLOBAL VARIABLES',
  lock: "SELECT IS_USED_LOCK('corpus')",
  counters: "SHOW GLOBAL STATUS LIKE 'Innodb_rows_%ed'",
  // Its length: what any transaction left there.
  binlog: 'SHOW BINARY LOGS',
  transactions: 'XA RECOVER',
};
/** Shown among the settings, but the server's state. */
const STATE = /^(?:gtid_|timestamp|innodb_buffer_pool_load|last_insert|.*_pos$)/;
const READS = /^Innodb_rows_read$/;

export class CorpusServer {
  readonly name: CorpusServerName;
  readonly flavour: 'mysql' | 'mariadb';
  readonly server: MysqlServer;
  readonly probe: Connection;
  /** That the server can write to. */
  readonly folder: string;
  /** The server itself, as root. */
  readonly direct: RawTarget;
  /** What dbwitness and raw clients can both speak, but for session tracking. */
  wanted = 0;
  mariadb = 0;
  readonly #access = new Map<Control, Access>();
  readonly #facts: Readonly<Record<string, string>>;

  private constructor(name: CorpusServerName, server: MysqlServer, probe: Connection) {
    this.name = name;
    this.flavour = server.family;
    this.server = server;
    this.probe = probe;
    this.folder = mkdtempSync(join(tmpdir(), 'dbw-corpus-'));
    chmodSync(this.folder, 0o777);
    this.direct = { ...server, database: 'corpus' };
    this.#facts =
      server.family === 'mariadb'
        ? { ...FACTS, sequence: 'SELECT next_not_cached_value FROM corpus.s' }
        : FACTS;
  }

  static async start(
    name: CorpusServerName,
    node: Dbwitness,
    controls: readonly Control[],
  ): Promise<CorpusServer> {
    const server = await CORPUS_SERVERS[name]();
    const corpus = new CorpusServer(name, server, await mysql.createConnection(server.admin()));
    await corpus.#fill();
    for (const control of controls)
      corpus.#access.set(
        control,
        await node.grantAccess(server, {
          database: { database_name: 'corpus' },
          grant: { controls: [control] },
        }),
      );
    const greeter = await RawMysql.open(node.host, node.mysqlPort);
    const { capabilities } = await greeter.greet();
    greeter.destroy();
    corpus.wanted = (capabilities.flags & ~(C.SESSION_TRACK | C.NO_SCHEMA)) >>> 0;
    corpus.mariadb = capabilities.mariadb;
    return corpus;
  }

  async stop(): Promise<void> {
    await this.probe.end();
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #fill(): Promise<void> {
    writeFileSync(join(this.folder, 'rows'), '5\n6\n', { mode: 0o644 });
    // MySQL 5.6 has no IF EXISTS for accounts, and here are none yet.
    for (const sql of [...FIXTURE, ...(this.flavour === 'mariadb' ? MARIADB_FIXTURE : [])])
      if (!sql.startsWith('DROP USER')) await this.probe.query(sql);
  }

  accessOf(control: Control): Access {
    const found = this.#access.get(control);
    if (!found) throw new Error(`nobody has ${control}`);
    return found;
  }

  /** Everything that a write would change, by what it is. */
  async snapshot(): Promise<Record<string, string>> {
    const [found] = await this.probe.query<mysql.RowDataPacket[][]>(Object.values(this.#facts).join('; '));
    const facts: Record<string, string> = { folder: readdirSync(this.folder).sort().join(' ') };
    for (const [i, name] of Object.keys(this.#facts).entries())
      facts[name] = JSON.stringify(
        found[i].filter(({ Variable_name: variable }) => {
          if (name === 'variables') return !STATE.test(String(variable));
          return name !== 'counters' || !READS.test(String(variable));
        }),
      );
    return facts;
  }

  /** What is not as it was then. */
  async changedSince(before: Readonly<Record<string, string>>): Promise<string[]> {
    const after = await this.snapshot();
    return Object.keys(after)
      .filter((name) => after[name] !== before[name])
      .map((name) => `${name}: ${after[name].slice(0, 300)}`);
  }

  /** Length of the general log. */
  get logged(): number {
    return statSync(this.server.generalLog).size;
  }

  log(from: number): string {
    return readFileSync(this.server.generalLog).toString('utf8', from);
  }
}

/** COM_STMT_PREPARE. */
export function prepareOf(sql: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x16]), typeof sql === 'string' ? Buffer.from(sql) : sql]);
}

/** COM_STMT_EXECUTE, without parameters, of what was answered to a COM_STMT_PREPARE. */
export function executeOf(prepared: readonly Packet[]): Buffer {
  const id = prepared[0].payload.subarray(1, 5);
  return Buffer.concat([Buffer.from([0x17]), id, Buffer.from([0]), uint32(1)]);
}
