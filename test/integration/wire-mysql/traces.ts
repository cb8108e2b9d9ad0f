/** The golden traces: what real clients and real servers said to each other (`record-traces.ts`). */
import { readFileSync } from 'node:fs';
import { Conversation, type Said } from './conversation.ts';

export interface Trace {
  readonly name: string;
  /** Hexadecimal, everything of one direction. */
  readonly client: string;
  readonly upstream: string;
}

export interface Recording {
  readonly name: string;
  readonly client: Buffer;
  readonly upstream: Buffer;
}

export const TRACES_FILE = new URL('../../../src/wire/mysql/testdata/traces.json', import.meta.url);

export function loadRecordings(): Recording[] {
  const traces = JSON.parse(readFileSync(TRACES_FILE, 'utf8')) as Trace[];
  return traces.map(({ name, client, upstream }) => ({
    name,
    client: Buffer.from(client, 'hex'),
    upstream: Buffer.from(upstream, 'hex'),
  }));
}

export function packetsOf({ client, upstream }: Recording): readonly Said[] {
  return new Conversation(client, upstream).said;
}
