/** sysbench's point select on MariaDB, as its packets. */
import { loadMysqlDialect } from '../../src/sql/mysql/dialect.ts';
import { Capability as C } from '../../src/wire/mysql/protocol.ts';
import { ConnectionIds } from '../../src/witness/proxy/mysql/connections.ts';
import { MysqlSession } from '../../src/witness/proxy/mysql/session.ts';
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

const TEXT = 'SELECT c FROM sbtest1 WHERE id=';
const packet = (sequence: number, ...parts: readonly (Buffer | string)[]): Buffer => {
  const payload = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  return Buffer.concat([Buffer.from([payload.length & 255, payload.length >> 8, 0, sequence]), payload]);
};
const counted = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
const column = (name: string, type: number): Buffer =>
  Buffer.concat([
    ...['def', 'test', 'sbtest1', 'sbtest1', name, name].map(counted),
    Buffer.from([12, 33, 0, 0x68, 1, 0, 0, type, 1, 0, 0, 0, 0]),
  ]);
const EOF = Buffer.from([0xfe, 0, 0, 2, 0]);
const C_VALUE = '0123456789-'.repeat(10).padEnd(119, 'x');

export async function mysql(prepared: boolean): Promise<Conversation> {
  const sql = { mysql: loadMysqlDialect('mysql'), mariadb: loadMysqlDialect('mariadb') };
  const permit = permitFor('mariadb');
  const connections = new ConnectionIds();
  const capabilities = {
    flags: C.PROTOCOL_41 | C.TRANSACTIONS | C.SECURE_CONNECTION | C.MULTI_RESULTS | C.PS_MULTI_RESULTS,
    mariadb: 0,
  };
  const open = (): Pair => {
    const parts = sessionParts(permit);
    const { client, upstream, recorder } = parts;
    const session = new MysqlSession({
      context: { ...context, sql },
      ...parts,
      clientCapabilities: capabilities,
      upstreamCapabilities: capabilities,
      start: {
        family: 'mariadb',
        serverVersion: 101_119,
        status: 2,
        sqlMode: null,
        clientEncoding: 'utf8',
        tracksEncoding: false,
        tracksMode: false,
        setUp: [],
      },
      connection: connections.issue(),
      connections,
      changeUser() {},
    });
    session.joinTurn();
    recordOpening(recorder, permit);
    if (!prepared) return { client, upstream };
    deliver(client, packet(0, '\x16', `${TEXT}?`), 0);
    reactor.onTurnEnd();
    const ok = Buffer.from([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    const answer = [packet(1, ok), packet(2, column('?', 8)), packet(3, EOF)];
    deliver(upstream, Buffer.concat([...answer, packet(4, column('c', 0xfe)), packet(5, EOF)]), 0);
    reactor.onTurnEnd();
    return { client, upstream };
  };
  const row = prepared ? Buffer.concat([Buffer.from([0, 0]), counted(C_VALUE)]) : counted(C_VALUE);
  return {
    open,
    answer: Buffer.concat([
      packet(1, Buffer.from([1])),
      packet(2, column('c', 0xfe)),
      packet(3, EOF),
      packet(4, row),
      packet(5, EOF),
    ]),
    requests: Array.from({ length: 1000 }, (_, i) => {
      const id = Math.floor(((i * 7919) % 1000) * 97.3) + 1;
      if (!prepared) return packet(0, '\x03', `${TEXT}${id}`);
      const execute = Buffer.from([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
      execute.writeUInt32LE(id, 14);
      return packet(0, execute);
    }),
  };
}
