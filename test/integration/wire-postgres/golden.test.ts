/** The codec against what real servers and drivers sent, recorded by `record-traces.ts`. */
import { describe, expect, it } from 'vitest';
import { Backend, Frontend } from '../../../src/wire/postgres/messages.ts';
import { Framer, recode } from './streams.ts';
import { frameAll, loadStreams, passwordKind, type Stream } from './traces.ts';

const streams = loadStreams();
const titled = streams.map((stream) => [`${stream.name}, ${stream.direction}`, stream] as const);

/** Types of a stream's messages with their number, in the order of their first coming. */
function summary(stream: Stream): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind, type } of frameAll(stream)) {
    const name = kind === 'startup' ? String(type) : String.fromCharCode(type);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

describe('golden traces', () => {
  it.each(titled)('%s: framed to the last byte, decoded and encoded to the same bytes', (_, stream) => {
    const messages = frameAll(stream);
    let at = 0;
    let passwords = 0;
    for (const message of messages) {
      expect(message.start).toBe(at);
      const answer = stream.direction === 'client' && message.type === Frontend.Password;
      const again = recode(
        stream.direction,
        message,
        stream.bytes,
        passwordKind(stream.authentication, answer ? passwords++ : 0),
      );
      expect(again.toString('latin1')).toBe(stream.bytes.toString('latin1', message.start, message.end));
      at = message.end;
    }
    expect(at).toBe(stream.bytes.length);
  });

  it.each(titled)('%s: cut anywhere, the same messages', (_, stream) => {
    const whole = frameAll(stream);
    for (let cut = 0; cut <= stream.bytes.length; cut++) {
      const framer = new Framer(stream.direction, stream.encryptionReplies);
      framer.feed(stream.bytes, cut);
      const early = framer.messages.length;
      // What was found early is what lies before the cut, no less and no more.
      if (framer.consumed > cut || (whole[early]?.end ?? Infinity) <= cut)
        expect.fail(`cut at ${cut}: ${early} messages, ${framer.consumed} bytes`);
      framer.feed(stream.bytes);
      const same = framer.messages.every(({ type, start, end }, i) => {
        const other = whole[i];
        return type === other.type && start === other.start && end === other.end;
      });
      if (!same || framer.messages.length !== whole.length) expect.fail(`cut at ${cut}: other messages`);
    }
  });

  it('byte by byte, the same messages', () => {
    for (const stream of streams) {
      const framer = new Framer(stream.direction, stream.encryptionReplies);
      for (let end = 0; end <= stream.bytes.length; end++) framer.feed(stream.bytes, end);
      expect(framer.messages).toEqual(frameAll(stream));
    }
  });

  it('between them they hold nearly every message of the protocol', () => {
    const seen = { client: new Set<number>(), upstream: new Set<number>() };
    for (const stream of streams)
      for (const { kind, type } of frameAll(stream)) if (kind === 'message') seen[stream.direction].add(type);
    const missing = (types: object, found: Set<number>): string[] =>
      Object.entries(types)
        .filter(([, type]) => !found.has(type as number))
        .map(([name]) => name);
    expect(missing(Frontend, seen.client)).toEqual([]);
    expect(missing(Backend, seen.upstream)).toEqual([]);
  });

  it('say what was done', () => {
    const of = (name: string, direction: string): Record<string, number> => {
      const stream = streams.find(
        (candidate) => candidate.name === name && candidate.direction === direction,
      );
      if (stream === undefined) throw new Error(`no trace ${name}`);
      return summary(stream);
    };
    // 3 × BEGIN, UPDATE, SELECT, UPDATE, UPDATE, INSERT, END: each prepared once.
    expect(of('pgbench prepared, connection 2', 'client')).toMatchObject({ P: 7, B: 21, E: 21, X: 1 });
    expect(of('pgbench simple, connection 2', 'client')).toMatchObject({ '196608': 1, Q: 21, X: 1 });
    expect(of('cancel', 'client')).toEqual({ '80877102': 1 });
    expect(of('protocol 3.2 to a server of 3.0', 'upstream')).toMatchObject({ v: 1 });
    expect(of('replication', 'upstream')).toMatchObject({ W: 1 });
    expect(of('encryption refused, then a database that is not there', 'upstream')).toEqual({
      N: 1,
      R: 1,
      E: 1,
    });
  });
});
