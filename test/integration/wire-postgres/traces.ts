/** The golden traces: what real clients and a real PostgreSQL 15 said to each other (`record-traces.ts`). */
import { readFileSync } from 'node:fs';
import type { Direction, Framed, PasswordKind } from './streams.ts';
import { Framer } from './streams.ts';

export interface Trace {
  readonly name: string;
  readonly authentication: 'trust' | 'cleartext' | 'md5' | 'scram';
  /** Hexadecimal, everything of one direction. */
  readonly client: string;
  readonly upstream: string;
}

/** One direction of one connection. */
export interface Stream {
  readonly name: string;
  readonly authentication: Trace['authentication'];
  readonly direction: Direction;
  readonly bytes: Buffer;
  /** One-byte answers to SSLRequest and GSSENCRequest at the beginning. */
  readonly encryptionReplies: number;
}

export function loadStreams(): Stream[] {
  const file = new URL('../../../src/wire/postgres/testdata/traces.json', import.meta.url);
  const traces = JSON.parse(readFileSync(file, 'utf8')) as Trace[];
  return traces.flatMap(({ name, authentication, client, upstream }) => {
    const requests = Buffer.from(client, 'hex');
    const replies = encryptionRequests(requests);
    return [
      { name, authentication, direction: 'client' as const, bytes: requests, encryptionReplies: 0 },
      {
        name,
        authentication,
        direction: 'upstream' as const,
        bytes: Buffer.from(upstream, 'hex'),
        encryptionReplies: replies,
      },
    ];
  });
}

function encryptionRequests(client: Buffer): number {
  let count = 0;
  while (client.length >= 8 * (count + 1) && client.readUInt32BE(8 * count) === 8) count++;
  return count;
}

export function frameAll(stream: Stream): readonly Framed[] {
  const framer = new Framer(stream.direction, stream.encryptionReplies);
  framer.feed(stream.bytes);
  return framer.messages;
}

/** What the `p` messages of a connection are, in their order. */
export function passwordKind(authentication: Trace['authentication'], index: number): PasswordKind {
  if (authentication !== 'scram') return 'password';
  return index === 0 ? 'sasl-initial' : 'sasl-response';
}
