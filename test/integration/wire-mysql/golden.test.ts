/** The codec against what real servers and drivers sent, recorded by `record-traces.ts`. */
import { describe, expect, it } from 'vitest';
import { PacketCursor, nextPacket, passPacket, skipRows } from '../../../src/wire/mysql/framing.ts';
import { decodeHandshakeResponse } from '../../../src/wire/mysql/handshake.ts';
import { clientInfile, Command, HEADER_BYTES, upstreamRunning } from '../../../src/wire/mysql/protocol.ts';
import { decodeProgressReport } from '../../../src/wire/mysql/responses.ts';
import { decodeRows } from '../../../src/wire/mysql/values/decode.ts';
import { type Said, recode } from './conversation.ts';
import { loadRecordings, packetsOf, type Recording } from './traces.ts';

const recordings = loadRecordings();
const titled = recordings.map((recording) => [recording.name, recording] as const);

function boundaries(bytes: Buffer, upTo = bytes.length, from = 0): number[] {
  const cursor = new PacketCursor();
  const ends: number[] = [];
  for (let at = from; nextPacket(bytes, at, upTo, clientInfile, cursor); at = cursor.end) {
    passPacket(cursor);
    ends.push(cursor.end);
  }
  return ends;
}

const all = (): { recording: Recording; said: Said }[] =>
  recordings.flatMap((recording) => packetsOf(recording).map((said) => ({ recording, said })));

describe('golden traces', () => {
  it.each(titled)(
    '%s: understood to the last byte, decoded and encoded to the same bytes',
    (_, recording) => {
      for (const said of packetsOf(recording)) {
        const again = recode(said);
        // MariaDB's driver counts its attributes in three bytes where one is enough: there only the contents are the same.
        if (said.kind === 'response' && again.length !== said.raw.length)
          expect(decodeHandshakeResponse(again, HEADER_BYTES, again.length)).toEqual(
            decodeHandshakeResponse(said.raw, HEADER_BYTES, said.raw.length),
          );
        else expect(again.toString('latin1')).toBe(said.raw.toString('latin1'));
      }
    },
  );

  it.each(titled)('%s: cut anywhere, the same packets', (_, { client, upstream }) => {
    for (const bytes of [client, upstream]) {
      const whole = boundaries(bytes);
      expect(whole.at(-1)).toBe(bytes.length);
      for (let cut = 0; cut <= bytes.length; cut++) {
        const early = boundaries(bytes, cut);
        const expected = whole.filter((end) => end <= cut);
        const late = boundaries(bytes, bytes.length, early.at(-1) ?? 0);
        if (early.length !== expected.length || early.length + late.length !== whole.length)
          expect.fail(`cut at ${cut}: ${early.length} packets, then ${late.length}`);
      }
    }
  });

  it('rows are passed over as they come one by one, from every cut', () => {
    let runs = 0;
    for (const recording of recordings) {
      const packets = packetsOf(recording).filter(({ direction }) => direction === 'upstream');
      let start = 0;
      for (let i = 0; i < packets.length; i++) {
        const rows: Said[] = [];
        for (let j = i; packets[j]?.kind.endsWith('-row'); j++) rows.push(packets[j]);
        if (rows.length > 0 && !packets[i - 1]?.kind.endsWith('-row')) {
          runs++;
          const length = rows.reduce((sum, { raw }) => sum + raw.length, 0);
          for (let end = start; end <= recording.upstream.length; end++) {
            const cursor = new PacketCursor();
            const count = skipRows(recording.upstream, start, end, rows[0].sequence, cursor);
            const there = rows.filter((_, n) => start + sum(rows, n + 1) <= end).length;
            if (count !== there)
              expect.fail(`${count} rows of ${there} with ${end - start} of ${length} bytes`);
          }
        }
        start += packets[i].raw.length;
      }
    }
    expect(runs).toBeGreaterThan(20);
  });

  it('recorded as an event, the rows read as what they were', () => {
    const shown = new Set<string>();
    for (const recording of recordings) {
      let columns: Buffer[] = [];
      for (const { kind, raw } of packetsOf(recording)) {
        if (kind === 'column-count' || kind === 'prepare-ok') columns = [];
        if (kind === 'column') columns.push(raw);
        if (kind !== 'text-row' && kind !== 'binary-row') continue;
        const format = kind === 'binary-row' ? 1 : 0;
        const result = decodeRows(Buffer.concat([Buffer.from([format]), ...columns]), raw);
        if (columns.length === 0) continue; // metadata that MariaDB left out
        expect(result.truncated).toBe(false);
        shown.add(JSON.stringify(result.rows[0]));
      }
    }
    expect(shown).toContain('[1,"é",null]');
    expect(shown).toContain('[7,"2001-09-09 01:46:40.000","\\\\x00ff",1.5]');
    expect(shown).toContain('[1,"a;b","1.50","2024-01-01 00:00:00"]');
  });

  it('between them they hold nearly everything that the protocol has', () => {
    const kinds = new Set(all().map(({ said }) => said.kind));
    expect([...kinds].toSorted()).toEqual(
      'auth-data auth-more auth-switch binary-row column column-count command eof err field greeting infile-data infile-request ok prepare-ok progress response text text-row'.split(
        ' ',
      ),
    );
    const seen = new Set(all().flatMap(({ said }) => (said.kind === 'command' ? [said.payload[0]] : [])));
    const never: Record<string, number> = { ...Command };
    for (const [name, command] of Object.entries(Command)) if (seen.has(command)) delete never[name];
    expect(Object.keys(never).join(' ')).toBe(
      'SLEEP CREATE_DB DROP_DB REFRESH SHUTDOWN PROCESS_INFO CONNECT DEBUG TIME DELAYED_INSERT BINLOG_DUMP TABLE_DUMP CONNECT_OUT REGISTER_SLAVE DAEMON BINLOG_DUMP_GTID CLONE SUBSCRIBE_GROUP_REPLICATION_STREAM MULTI',
    );
  });

  it('a report of progress', () => {
    const report = all().find(({ said }) => said.kind === 'progress')?.said.payload ?? Buffer.alloc(0);
    expect(decodeProgressReport(report, 0, report.length)).toMatchObject({ info: 'End bulk insert' });
  });

  it('every packet of a server is one that a session may have', () => {
    const cursor = new PacketCursor();
    for (const { upstream } of recordings)
      for (let at = 0; at < upstream.length; at = cursor.end)
        expect(nextPacket(upstream, at, upstream.length, upstreamRunning, cursor)).toBe(true);
  });
});

function sum(rows: readonly Said[], count: number): number {
  return rows.slice(0, count).reduce((total, { raw }) => total + raw.length, 0);
}
