/** pgbench's select-only, as its messages. */
import { loadPostgresDialect } from '../../src/sql/postgres/dialect.ts';
import { PgSession } from '../../src/witness/proxy/postgres/session.ts';
import { message as m } from '../../test/conformance/postgres/raw-client.ts';
import {
  type Conversation,
  context,
  deliver,
  type Pair,
  permitFor,
  reactor,
  recordOpening,
  sessionParts,
} from './world.ts';

const frame = (type: string, ...parts: (string | Buffer)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const TEXT = 'SELECT abalance FROM pgbench_accounts WHERE aid = ';
const columns = frame(
  'T',
  int16(1),
  'abalance\0',
  int32(16_384),
  int16(3),
  int32(23),
  int16(4),
  int32(-1),
  int16(0),
);
const row = frame('D', int16(1), int32(1), '0');
const done = [columns, row, frame('C', 'SELECT 1\0'), frame('Z', 'I')];

export async function postgres(prepared: boolean): Promise<Conversation> {
  const sql = await loadPostgresDialect();
  const permit = permitFor('postgres');
  const open = (): Pair => {
    const parts = sessionParts(permit);
    const { client, upstream, recorder } = parts;
    const session = new PgSession({
      context: { ...context, sql },
      ...parts,
      standardConformingStrings: true,
      clientEncoding: 'UTF8',
      replication: false,
    });
    session.joinTurn();
    recordOpening(recorder, permit);
    if (!prepared) return { client, upstream };
    deliver(client, Buffer.concat([m.parse('P_0', `${TEXT}$1;`), m.sync()]), 0);
    reactor.onTurnEnd();
    deliver(upstream, Buffer.concat([frame('1'), frame('Z', 'I')]), 0);
    reactor.onTurnEnd();
    return { client, upstream };
  };
  return {
    open,
    answer: Buffer.concat(prepared ? [frame('2'), ...done] : done),
    requests: Array.from({ length: 1000 }, (_, i) => {
      const aid = String(Math.floor(((i * 7919) % 1000) * 97.3) + 1);
      return prepared
        ? Buffer.concat([m.bind('', 'P_0', [aid]), m.describe('P'), m.execute(), m.sync()])
        : m.query(`${TEXT}${aid};`);
    }),
  };
}
