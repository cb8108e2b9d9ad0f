/**
 * The demo's target: an embedded PostgreSQL with the clinic's data and one account, `clinic_app`, which dbwitness logs in
 * with. A second start finds the first one's data and account.
 */
import { randomBytes } from 'node:crypto';
import { chown, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts';
import { createSampleData, type SampleSummary } from './sample-data.ts';

export interface SampleTargetOptions {
  /** See {@link EmbeddedPostgres.dataDir} for where the data really is. */
  readonly dataDir: string;
  /** 0 or absent: a free one. */
  readonly port?: number;
  readonly log?: (line: string) => void;
}

export interface SampleTarget {
  readonly server: EmbeddedPostgres;
  readonly databaseName: 'clinic';
  /** The account to store as upstream credentials. Stays the same over restarts. */
  readonly username: 'clinic_app';
  readonly password: string;
  readonly data: SampleSummary;
}

interface Login {
  readonly superuserPassword: string;
  readonly password: string;
}

/** Starts the sample server, and fills it at the first start. Rejects as {@link startEmbeddedPostgres} does. */
export async function startSampleTarget(options: SampleTargetOptions): Promise<SampleTarget> {
  const superuserPassword = randomBytes(18).toString('base64url');
  const server = await startEmbeddedPostgres({ ...options, superuserPassword });
  try {
    const login = await readOrMakeLogin(server, superuserPassword);
    const admin = { host: server.socketDir, port: server.port, user: server.superuser };
    await using(new pg.Client({ ...admin, database: 'postgres' }), async (client) => {
      await client.query(`DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clinic_app') THEN CREATE ROLE clinic_app LOGIN; END IF;
      END $$`);
      await client.query(`ALTER ROLE clinic_app PASSWORD ${pg.escapeLiteral(login.password)}`);
      const found = await client.query("SELECT 1 FROM pg_database WHERE datname = 'clinic'");
      if (found.rowCount === 0) await client.query('CREATE DATABASE clinic OWNER clinic_app');
    });
    // Over the socket as the application's own account: it owns the tables.
    const data = await using(new pg.Client({ ...admin, user: 'clinic_app', database: 'clinic' }), (client) =>
      createSampleData(client),
    );
    return { server, databaseName: 'clinic', username: 'clinic_app', password: login.password, data };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** The account's password is kept beside the data, readable by the server's user alone. */
async function readOrMakeLogin(server: EmbeddedPostgres, superuserPassword: string): Promise<Login> {
  const file = join(server.dataDir, 'sample-login.json');
  const kept = await readFile(file, 'utf8').catch(() => null);
  if (kept !== null) return JSON.parse(kept) as Login;
  const login: Login = { superuserPassword, password: randomBytes(18).toString('base64url') };
  await writeFile(file, JSON.stringify(login), { mode: 0o600 });
  if (server.identity.stepsDown) await chown(file, server.identity.uid, server.identity.gid);
  return login;
}

async function using<T>(client: pg.Client, work: (client: pg.Client) => Promise<T>): Promise<T> {
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
