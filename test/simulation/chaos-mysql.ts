/** MySQL and MariaDB under `chaos:kill`: sysbench by the text protocol and prepared; the server's general log. */
import { recordedParameters } from '../../src/app/recorded-values.ts';
import { StatementKind } from '../../src/model/events.ts';
import {
  type MysqlFamily,
  startMariadb,
  startMysql,
  sysbench,
  sysbenchInit,
  type SysbenchOptions,
} from '../servers/index.ts';
import type { ChaosField } from './chaos.ts';
import { GeneralLog } from './mysql-log.ts';
import { normalised } from './server-log.ts';

const WITNESSED = 'witnessed';

const LOADS: readonly Omit<SysbenchOptions, 'seconds'>[] = [
  { script: 'oltp_read_write', protocol: 'text', clients: 3 },
  { script: 'oltp_read_write', protocol: 'prepared', clients: 3 },
  { script: 'oltp_point_select', protocol: 'text', clients: 2 },
  { script: 'oltp_point_select', protocol: 'prepared', clients: 2 },
];

/** MariaDB 10.11 or MySQL 9.7. */
export async function startMysqlField(family: MysqlFamily): Promise<ChaosField> {
  const start = family === 'mariadb' ? startMariadb : startMysql;
  const server = await start({
    logStatements: true,
    initSql: `CREATE USER ${WITNESSED} IDENTIFIED BY 'witnessed'; GRANT ALL ON *.* TO ${WITNESSED}`,
  });
  await sysbenchInit({ ...server, database: 'test' });
  const log = new GeneralLog(server);
  const count = async (condition: string): Promise<number> => {
    const sql = `SELECT count(*) AS connections FROM information_schema.processlist WHERE user = ? AND ${condition}`;
    const [{ connections }] = await server.query<{ connections: number }>(sql, [WITNESSED]);
    return connections;
  };
  return {
    grantAccess: (node) =>
      node.grantAccess(server, { database: { username: WITNESSED, password: 'witnessed' } }),
    load: (access, seconds) => LOADS.map((one) => sysbench(access, { ...one, seconds, tolerant: true })),
    flowing: async () => (await count('true')) >= 5 && (await count('info IS NOT NULL')) >= 1,
    idle: async () => (await count('true')) === 0,
    statementsSince: () => log.statementsSince(WITNESSED),
    recordedForm: ({ kind, bind }, text, types) => {
      if (kind !== StatementKind.SIMPLE && kind !== StatementKind.EXECUTE) return null;
      const values = bind.length === 0 ? [] : (recordedParameters(family, Buffer.from(bind), types) ?? []);
      return { text: normalised(putIn(text, values)), parameters: '' };
    },
    stop: () => server.stop(),
  };
}

/** The text with its parameters in their places, as the server logs an execution. sysbench's texts have no other `?`. */
function putIn(text: string, values: readonly unknown[]): string {
  let next = 0;
  return text.replaceAll('?', () => {
    const value = values[next++];
    if (value === null || value === undefined) return 'NULL';
    return typeof value === 'string' ? `'${value.replaceAll(/['\\]/g, '\\$&')}'` : JSON.stringify(value);
  });
}
