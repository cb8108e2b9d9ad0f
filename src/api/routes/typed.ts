/** A Fastify instance whose handlers are typed by their TypeBox schemas, and what all routes answer on failure. */
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PageRequest } from '../../access/page.ts';
import { isUid } from '../../base/ids.ts';
import { Problem } from '../contract/common.ts';
import { ValidationError } from '../problems.ts';

export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** Documented for every route that needs somebody; any failure is a problem. */
export const failures = { '4xx': Problem, '5xx': Problem } as const;

/** A page of objects that are ordered by uid. */
export function uidPage(query: { cursor?: string; limit?: number }): PageRequest {
  if (query.cursor !== undefined && !isUid(query.cursor)) throw badCursor();
  return { limit: query.limit ?? 50, after: query.cursor ?? null };
}

export function badCursor(): ValidationError {
  return new ValidationError('query', [
    { field: 'cursor', message: 'is not the next_cursor of a page of this list' },
  ]);
}
