/** Makes the index of a node that does not run again, in this process. */
import { existsSync } from 'node:fs';
import { openVault } from '../../access/vault.ts';
import { systemClock } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import { JournalReader } from '../../journal/reader.ts';
import { type RebuildResult, rebuildIndex } from '../../store/rebuild.ts';
import { openStore } from '../../store/store.ts';
import type { Config } from '../config.ts';
import { createDecoder } from '../decoder.ts';
import { JOURNAL_KEY_PURPOSE } from './node.ts';
import { pathsOf } from './paths.ts';

/**
 * Rejects with `not-found` when there is no journal, `conflict` when a node has the store, `unavailable` when the
 * PostgreSQL at DBW_DSN does not answer.
 */
export async function rebuildOffline(config: Config): Promise<RebuildResult> {
  const { journal } = pathsOf(config.dataDir);
  if (!existsSync(journal))
    throw new AppError('not-found', 'APP_NO_JOURNAL', `there is no journal in ${config.dataDir}`);
  const vault = await openVault(config);
  const reader = JournalReader.open(journal, { key: vault.subkey(JOURNAL_KEY_PURPOSE) });
  try {
    const store = await openStore({ dsn: config.dsn, dataDir: config.dataDir });
    try {
      return await rebuildIndex({
        store,
        source: reader,
        journalName: reader.origin,
        decoder: await createDecoder(),
        clock: systemClock,
      });
    } finally {
      await store.close();
    }
  } finally {
    await reader.close();
  }
}
