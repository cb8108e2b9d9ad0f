import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { expect, it } from 'vitest';
import { sampleRows } from './sample-data.ts';
import { startSampleTarget } from './sample-target.ts';

it('gives the same rows for the same seed, and others for another', () => {
  expect(sampleRows(7)).toEqual(sampleRows(7));
  expect(sampleRows(7)).not.toEqual(sampleRows(8));
});

it('starts with data, and finds data and account again at the second start', async () => {
  const root = mkdtempSync(join(tmpdir(), 'dbw-sample-'));
  const dataDir = join(root, 'target');
  let places: string[] = [];
  const visit = async (): Promise<{ created: boolean; patients: number; notes: number }> => {
    const target = await startSampleTarget({ dataDir });
    places = [root, target.server.dataDir];
    try {
      const client = new pg.Client({
        host: '127.0.0.1',
        port: target.server.port,
        user: target.username,
        password: target.password,
        database: target.databaseName,
      });
      await client.connect();
      await client.query('CREATE TABLE IF NOT EXISTS notes (n int)');
      const notes = await client.query<{ n: string }>('SELECT count(*) AS n FROM notes');
      await client.query('INSERT INTO notes VALUES (1)');
      const patients = await client.query<{ n: string }>('SELECT count(*) AS n FROM patients');
      await client.end();
      return {
        created: target.data.created,
        patients: Number(patients.rows[0].n),
        notes: Number(notes.rows[0].n),
      };
    } finally {
      await target.server.stop();
    }
  };
  try {
    expect(await visit()).toEqual({ created: true, patients: 1500, notes: 0 });
    expect(await visit()).toEqual({ created: false, patients: 1500, notes: 1 });
  } finally {
    for (const place of places) rmSync(place, { recursive: true, force: true });
  }
});
