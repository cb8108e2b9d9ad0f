import { demand } from '../../access/actor.ts';
import { actorOf } from '../authentication.ts';
import { Index } from '../contract/index.ts';
import type { ApiDeps, IndexState } from '../deps.ts';
import { failures, type Api } from './typed.ts';

const tags = ['journal'];

export function indexRoutes(api: Api, { index }: ApiDeps): void {
  if (index === undefined) return;
  api.get(
    '/index',
    {
      schema: {
        tags,
        summary: 'How far the journal is indexed, and so can be searched',
        response: { 200: Index, ...failures },
      },
    },
    async (request) => {
      demand(actorOf(request), 'journal.read');
      return indexView(await index.state());
    },
  );

  api.post(
    '/index/rebuild',
    {
      schema: {
        tags,
        summary:
          'Make the index again from the journal alone; it goes on in the background, ask /index how far it is',
        response: { 202: Index, ...failures },
      },
    },
    async (request, reply) => {
      const actor = actorOf(request);
      demand(actor, 'index.rebuild');
      return reply.code(202).send(indexView(await index.rebuild(actor)));
    },
  );
}

function indexView({ state, failure, nextSeq, journalSeq }: IndexState) {
  return { state, failure, next_seq: nextSeq, journal_seq: journalSeq };
}
