import type { Actor } from '../../access/actor.ts';
import { AppError } from '../../base/errors.ts';
import { getStatement, listStatements, type StatementRecord } from '../../store/queries.ts';
import { statementView } from '../audit-views.ts';
import { actorOf } from '../authentication.ts';
import { ResultRows, Statement, StatementQuery } from '../contract/audit.ts';
import { PageOf, StatementParams } from '../contract/common.ts';
import type { ApiDeps } from '../deps.ts';
import { failures, type Api } from './typed.ts';
import { NO_ITEMS, pageJson, pageOf, scopeOf, timeSpan, userFilter } from './visibility.ts';

const tags = ['statements'];

export function statementRoutes(api: Api, { db, journal }: ApiDeps): void {
  api.get(
    '/statements',
    {
      schema: {
        tags,
        summary: 'Search statements, newest first',
        querystring: StatementQuery,
        response: { 200: PageOf(Statement), ...failures },
      },
    },
    async (request) => {
      const { query } = request;
      const user = userFilter(actorOf(request), query.user);
      if (user === null) return NO_ITEMS;
      const filter = {
        ...user,
        ...timeSpan(query),
        database: query.database,
        session: query.session_uid,
        text: query.q,
        error: query.error_code ?? query.error,
        table: query.table,
        kind: query.kind,
        verb: query.verb?.toLowerCase(),
        outcome: query.outcome,
        minDurationUs: query.min_duration_us,
        maxDurationUs: query.max_duration_us,
      };
      return pageJson(await listStatements(db, filter, pageOf(query)), statementView);
    },
  );

  api.get(
    '/statements/:uid',
    {
      schema: {
        tags,
        summary: 'Show a statement',
        params: StatementParams,
        response: { 200: Statement, ...failures },
      },
    },
    async (request) => statementView(await visibleStatement(db, actorOf(request), request.params.uid)),
  );

  api.get(
    '/statements/:uid/rows',
    {
      schema: {
        tags,
        summary: 'The result rows that were recorded',
        params: StatementParams,
        response: { 200: ResultRows, ...failures },
      },
    },
    async (request) => {
      const recorded = await journal.rows(await visibleStatement(db, actorOf(request), request.params.uid));
      return {
        columns: recorded.columns.map(({ name, type }) => ({ name, type })),
        rows: recorded.rows.map((row) => [...row]),
        truncated: recorded.truncated,
        more: recorded.more.map(({ columns, rows }) => ({
          columns: columns.map(({ name, type }) => ({ name, type })),
          rows: rows.map((row) => [...row]),
        })),
      };
    },
  );
}

async function visibleStatement(db: ApiDeps['db'], actor: Actor, uid: string): Promise<StatementRecord> {
  const scope = scopeOf(actor);
  const statement = await getStatement(db, uid);
  if (statement === null || (scope !== null && statement.user_uid !== scope))
    throw new AppError('not-found', 'API_STATEMENT_UNKNOWN', 'there is no such statement');
  return statement;
}
