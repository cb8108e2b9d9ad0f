/**
 * The same said to a server directly and through dbwitness: every packet of every answer is the same, header and sequence
 * id included, with each of the capabilities that change how packets read, and under controls.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Capability as C } from '../../src/wire/mysql/protocol.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  startMysql,
} from '../servers/index.ts';
import { transcript } from './mysql/differential.ts';
import { EXCHANGES, matrix, MATRIX_MODES } from './mysql/matrix.ts';
import { type RawOptions, RawMysql, type RawTarget } from './mysql/raw-client.ts';
import { SCRIPT } from './mysql/script.ts';

const SERVERS = [
  ['mariadb', 'MariaDB 10.11', () => startMariadb({ version: '10.11', tls: true })],
  ['mariadb-11.8', 'MariaDB 11.8', () => startMariadb({ version: '11.8', tls: true })],
  ['mysql-9.7', 'MySQL 9.7', () => startMysql({ version: '9.7', tls: true })],
  ['mysql-5.6', 'MySQL 5.6', () => startMysql({ version: '5.6' })],
] as const;

const ALL = 0xffff_ffff;
const MODES: Readonly<Record<string, RawOptions>> = {
  'everything the server has': {},
  'EOF packets': { wanted: ALL & ~C.DEPRECATE_EOF },
  'no session tracking': { wanted: ALL & ~C.SESSION_TRACK },
  'what there was in 5.5': {
    wanted: ALL & ~(C.DEPRECATE_EOF | C.SESSION_TRACK | C.QUERY_ATTRIBUTES | C.OPTIONAL_RESULTSET_METADATA),
    mariadb: 0,
  },
};

/** Controls refuse these, or the server reports more of them than was asked for. */
const OWN_WAY = /^(?:SET (?:NAMES|sql_mode)|CALL|HANDLER|SELECT @out)/;

describe.each(SERVERS)('%s', (need, _name, start) => {
  describe.skipIf(isMissing(need))('answers are the same', () => {
    let server: MysqlServer;
    let node: Dbwitness;
    let open: Access;
    let controlled: Access;
    let direct: RawTarget;

    beforeAll(async () => {
      [server, node] = await Promise.all([start(), startDbwitness({ mysql: true })]);
      const database = { recording: { label_application_name: false } };
      open = await node.grantAccess(server, { database });
      controlled = await node.grantAccess(server, { grant: { controls: ['block_copy'] }, database });
      const { host, port, user, password } = server;
      direct = { host, port, user, password, database: 'test' };
    });
    afterAll(async () => {
      await node?.stop();
      await server?.stop();
    });

    it.each(Object.entries(MODES))('with %s', async (_mode, options) => {
      const expected = await transcript(direct, SCRIPT, options);
      expect(expected.length).toBeGreaterThan(100);
      expect(await transcript(open, SCRIPT, options)).toEqual(expected);
      const under = await transcript(controlled, SCRIPT, options);
      const same = (lines: readonly string[]): string[] => lines.filter((line) => !OWN_WAY.test(line));
      expect(same(under)).toEqual(same(expected));
    });

    it.each(Object.entries(MATRIX_MODES))(
      'by tables of types and statements, with %s',
      async (_mode, wanted) => {
        const all = async (target: RawTarget): Promise<string[]> => {
          const client = await RawMysql.connect(target, wanted);
          const lines = await matrix(client);
          await client.quit();
          return lines;
        };
        const expected = await all(direct);
        expect(EXCHANGES).toBeGreaterThan(600);
        expect(expected.length).toBeGreaterThan(EXCHANGES);
        // Most of them say something: what a server does not know is a smaller part.
        expect(expected.filter((line) => !line.includes('\n  failed')).length).toBeGreaterThan(
          EXCHANGES * 0.7,
        );
        expect(await all(open)).toEqual(expected);
      },
    );

    it.skipIf(need === 'mysql-5.6')('inside TLS', async () => {
      const expected = await transcript(direct, SCRIPT, { tls: true });
      expect(await transcript(open, SCRIPT, { tls: true })).toEqual(expected);
    });
  });
});
