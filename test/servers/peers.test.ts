/** The peers that benchmarks compare with, and the load generator's report. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cpuSeconds,
  isMissing,
  type Peer,
  pgbench,
  pgbenchInit,
  type PostgresServer,
  startPgbouncer,
  startPostgres,
} from './index.ts';

describe.skipIf(isMissing('postgres', 'pgbench', 'pgbouncer'))('peers of the benchmarks', () => {
  let server: PostgresServer;
  let peer: Peer;

  beforeAll(async () => {
    server = await startPostgres();
    peer = await startPgbouncer(server);
  });
  afterAll(async () => {
    await peer.stop();
    await server.stop();
  });

  it('runs pgbench through pgbouncer and reads its report', async () => {
    const target = {
      host: peer.host,
      port: peer.port,
      user: server.user,
      password: '',
      database: 'postgres',
    };
    await pgbenchInit(target, 1);
    const before = cpuSeconds(peer.pid);
    const report = await pgbench(target, {
      script: 'select-only',
      protocol: 'prepared',
      clients: 2,
      seconds: 1,
    });
    expect(report.transactions).toBeGreaterThan(100);
    expect(report.tps).toBeGreaterThan(100);
    expect(report.latencyUs).toBeGreaterThan(1);
    expect(report.failed).toBe(0);
    expect(cpuSeconds(peer.pid)).toBeGreaterThan(before);
  });
});
