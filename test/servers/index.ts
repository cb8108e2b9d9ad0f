/**
 * The servers, peers and clients that tests, benchmarks and chaos runs start: each on a free port of 127.0.0.1, with
 * a data folder of its own, never as root, ended with the process that started it.
 */
export { freePort } from '../../src/app/demo/embedded-postgres.ts';
export { isMissing, type NeedName, pathOf, requirePath } from './available.ts';
export { type Certificate, type CertificateAuthority, makeAuthority } from './certificate.ts';
export {
  type Access,
  type ApiAnswer,
  type ApiObject,
  type CommandResult,
  Dbwitness,
  type DbwitnessOptions,
  LAUNCHER,
  startDbwitness,
} from './dbwitness.ts';
export {
  type MariadbVersion,
  type MysqlFamily,
  type MysqlServer,
  type MysqlServerOptions,
  type MysqlVersion,
  startMariadb,
  startMysql,
} from './mysql.ts';
export { type Peer, startHaproxy, startPgbouncer } from './peers.ts';
export { type PgTarget, pgbench, pgbenchInit, type PgbenchOptions, type PgbenchReport } from './pgbench.ts';
export { type PostgresMajor, type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts';
export {
  cpuSeconds,
  killTree,
  processTree,
  residentBytes,
  type RunningProcess,
  startProcess,
} from './processes.ts';
export { newSeed, seeded } from './random.ts';
export {
  sysbench,
  sysbenchInit,
  type SysbenchOptions,
  type SysbenchReport,
  type Target,
} from './sysbench.ts';
export { waitFor, type WaitOptions } from './wait.ts';
