/**
 * `statement ls --follow`: what has ended is printed once, oldest first, as the index learns of it. The index is asked
 * again and again for a window of time that reaches back to the oldest statement that was still running.
 */
import type { Statement } from '../api/contract/audit.ts';
import type { ApiClient, Query } from './client.ts';
import type { Context } from './context.ts';
import { type Column, table } from './output.ts';

const POLL_MS = 300;
/** Statements come into the index in the order of the journal, not of their start; this much later at most. */
const OVERLAP_MS = 10_000;
/** One look at the window; what does not fit is seen by the next. */
const MAX_WINDOW = 10_000;

/** Never resolves; rejects when the node cannot be reached any more. */
export async function follow(
  context: Context,
  api: ApiClient,
  query: Query,
  limit: number,
  columns: readonly Column<Statement>[],
): Promise<never> {
  const printed = new Set<string>();
  let newest = await api.all<Statement>('/statements', query, Math.min(limit, MAX_WINDOW));
  let titles = true;
  for (;;) {
    const ended = newest
      .toReversed()
      .filter(({ uid, outcome }) => outcome !== 'running' && !printed.has(uid));
    if (ended.length > 0) print(context, ended, columns, titles);
    titles &&= ended.length === 0;
    const from = windowStart(newest, context);
    const inWindow = newest.filter((statement) => Date.parse(statement.started_at) >= Date.parse(from));
    for (const { uid } of ended) printed.add(uid);
    if (printed.size > MAX_WINDOW * 2) keepOnly(printed, inWindow);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    newest = await api.all<Statement>('/statements', { ...query, from }, MAX_WINDOW);
  }
}

function windowStart(newest: readonly Statement[], { io }: Context): string {
  const running = newest
    .filter(({ outcome }) => outcome === 'running')
    .map((each) => Date.parse(each.started_at));
  return new Date(Math.min(io.clock.wallUs() / 1000 - OVERLAP_MS, ...running)).toISOString();
}

function keepOnly(printed: Set<string>, statements: readonly Statement[]): void {
  const kept = new Set(statements.map(({ uid }) => uid));
  for (const uid of printed) if (!kept.has(uid)) printed.delete(uid);
}

function print(
  context: Context,
  statements: readonly Statement[],
  columns: readonly Column<Statement>[],
  titles: boolean,
): void {
  if (context.out.json) for (const statement of statements) context.out.line(statement);
  else {
    const text = table(statements, columns, context.io.width);
    context.io.write(titles ? text : text.slice(text.indexOf('\n') + 1));
  }
}
