/** `dbwitness index`: the searchable copy of the journal. */
import type { Index } from '../../api/contract/index.ts';
import { readConfig } from '../../app/config.ts';
import { AppError, isAppError } from '../../base/errors.ts';
import { type Commands, type Context, environmentOf } from '../context.ts';

const POLL_MS = 200;

interface RebuildOptions {
  readonly wait: boolean;
}

export function addIndexCommands({ program, action }: Commands): void {
  const index = program.command('index').description('the searchable copy of the journal');
  index.command('status').description('how far the journal is indexed').action(action(status));
  index
    .command('rebuild')
    .description(
      'make the index again from the journal alone; by the node if it runs, else here. Recording goes on meanwhile',
    )
    .option('--no-wait', 'only start it, if the node runs')
    .action(action<RebuildOptions>(rebuild));
}

async function status(context: Context): Promise<void> {
  const index = await (await context.api()).get<Index>('/index');
  context.out.one(index, [
    ['state', index.failure === '' ? index.state : `${index.state}: ${index.failure}`],
    ['indexed', `${index.next_seq} of ${index.journal_seq} events`],
  ]);
}

async function rebuild(context: Context, options: RebuildOptions): Promise<void> {
  const api = await context.api();
  let started: Index;
  try {
    started = await api.post<Index>('/index/rebuild');
  } catch (error) {
    const nothingRuns = isAppError(error) && error.code === 'CLI_NOTHING_RUNS';
    if (!nothingRuns || api.address.kind !== 'socket') throw error;
    return rebuildHere(context, api.address.dataDir);
  }
  const untilSeq = started.journal_seq;
  if (!options.wait)
    return context.out.done(
      started,
      `Started; "dbwitness index status" says how far it is of ${untilSeq} events.`,
    );
  let index = started;
  while (index.next_seq < untilSeq) {
    if (index.state === 'failing')
      throw new AppError('unavailable', 'CLI_INDEX_FAILING', `the index cannot be made: ${index.failure}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    index = await api.get<Index>('/index');
  }
  context.out.done(index, `The index was made again from ${untilSeq} events of the journal.`);
}

async function rebuildHere(context: Context, dataDir: string): Promise<void> {
  context.io.note(`no dbwitness runs in ${dataDir}; making its index here`);
  const { rebuildOffline } = await import('../../app/node/rebuild-offline.ts');
  const config = readConfig({ ...environmentOf(context), DBW_DATA_DIR: dataDir });
  const result = await rebuildOffline(config);
  context.out.done(
    { next_seq: result.nextSeq, statements: result.statements },
    `The index was made again from the journal: ${result.statements} statements.`,
  );
}
