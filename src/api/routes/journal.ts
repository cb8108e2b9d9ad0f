import { demand } from '../../access/actor.ts';
import { AppError } from '../../base/errors.ts';
import { parseCheckpoint } from '../../journal/note.ts';
import { getStatement } from '../../store/queries.ts';
import { actorOf } from '../authentication.ts';
import { StatementParams } from '../contract/common.ts';
import { JournalCheckpoint, Proof } from '../contract/journal.ts';
import type { ApiDeps } from '../deps.ts';
import { failures, type Api } from './typed.ts';

const tags = ['journal'];

export function journalRoutes(api: Api, { db, journal }: ApiDeps): void {
  api.get(
    '/journal/checkpoint',
    {
      schema: {
        tags,
        summary: 'The newest signed checkpoint of the journal; with "Accept: text/plain" the note alone',
        response: { 200: JournalCheckpoint, ...failures },
      },
    },
    async (request, reply) => {
      demand(actorOf(request), 'journal.read');
      const newest = await journal.checkpoint();
      if (newest === null)
        throw new AppError(
          'not-found',
          'API_NO_CHECKPOINT',
          'nothing is signed yet; the first checkpoint follows the first events within a second',
        );
      if (request.headers.accept?.startsWith('text/plain') === true)
        return reply
          .type('text/plain; charset=utf-8')
          .serializer((note: unknown) => String(note))
          .send(newest.note as never);
      const checkpoint = parseCheckpoint(Buffer.from(newest.note));
      if (typeof checkpoint === 'string')
        throw new AppError('corrupt', 'API_CHECKPOINT_DAMAGED', `the checkpoint is damaged: ${checkpoint}`);
      return {
        origin: checkpoint.origin,
        size: checkpoint.size,
        root_hash: Buffer.from(checkpoint.root).toString('base64'),
        note: newest.note,
        verifier_key: newest.verifierKey,
      };
    },
  );

  api.get(
    '/statements/:uid/proof',
    {
      schema: {
        tags,
        summary: 'Proof that the statement and its outcome are in the journal',
        params: StatementParams,
        response: { 200: Proof, ...failures },
      },
    },
    async (request) => {
      demand(actorOf(request), 'journal.read');
      const statement = await getStatement(db, request.params.uid);
      if (statement === null)
        throw new AppError('not-found', 'API_STATEMENT_UNKNOWN', 'there is no such statement');
      return journal.proof(statement);
    },
  );
}
