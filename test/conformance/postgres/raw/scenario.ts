/**
 * Conversations in raw messages, for what no driver does or shows: pipelines with errors in the middle, suspended portals,
 * Flush, COPY in every way, FunctionCall, encodings, cancel, limits. Every backend message is compared byte for byte.
 */
import { type BackendMessage, message as m, RawClient } from '../raw-client.ts';
import type { PgTarget } from '../../../servers/index.ts';
import { lineOf } from '../transcript.ts';

export interface Scenario {
  readonly name: string;
  /** Start-up parameters. */
  readonly parameters?: Readonly<Record<string, string>>;
  readonly run: (client: RawClient, target: PgTarget) => Promise<void>;
}

/** The messages that came back, one line each. */
export async function play(scenario: Scenario, target: PgTarget): Promise<string[]> {
  const client = await RawClient.connect(target, scenario.parameters);
  try {
    await scenario.run(client, target);
    await client.end();
  } finally {
    client.destroy();
  }
  return ordered(client.received).map(lineOf);
}

/**
 * After authentication the server reports its parameters in the order of its own hash table, which dbwitness need not
 * keep: those before the first ReadyForQuery are compared as a set.
 */
function ordered(messages: readonly BackendMessage[]): BackendMessage[] {
  const ready = messages.findIndex((one) => one.type === 'Z');
  const start = messages.slice(0, ready);
  const parameters = start.filter((one) => one.type === 'S');
  return [
    ...parameters.toSorted((a, b) => a.body.compare(b.body)),
    ...start.filter((one) => one.type !== 'S'),
    ...messages.slice(ready),
  ];
}

/** Sends everything at once, and waits for as many ReadyForQuery as there are Syncs (and Queries, FunctionCalls). */
export function exchange(...messages: readonly Buffer[]): Scenario['run'] {
  const replies = messages.filter((one) => ['S', 'Q', 'F'].includes(String.fromCharCode(one[0]))).length;
  return async (client) => {
    client.send(...messages);
    await client.until('Z', replies);
  };
}

/** One exchange after the other. */
export function sequence(...steps: readonly Scenario['run'][]): Scenario['run'] {
  return async (client, target) => {
    for (const step of steps) await step(client, target);
  };
}

export const query = (sql: string | Buffer): Scenario['run'] => exchange(m.query(sql));
/** Parse, Bind, Describe, Execute of the unnamed statement; no Sync. */
export const run = (sql: string, values: readonly (string | null)[] = [], maxRows = 0): Buffer =>
  Buffer.concat([m.parse('', sql), m.bind('', '', values), m.describe('P'), m.execute('', maxRows)]);
