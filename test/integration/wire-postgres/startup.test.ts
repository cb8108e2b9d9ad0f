/** Protocol versions and cancellation with real servers: 15 speaks 3.0, 18 speaks 3.2 with long keys. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../src/base/bytes.ts';
import { encodeQuery } from '../../../src/wire/postgres/frontend.ts';
import {
  type BackendKeyData,
  encodeCancelRequest,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
} from '../../../src/wire/postgres/startup.ts';
import { isMissing, startPostgres, type PostgresServer, waitFor } from '../../servers/index.ts';
import { WireClient } from './client.ts';

const VERSIONS = [
  { version: '15', protocol: PROTOCOL_3_0, keyBytes: 4, speaks: null },
  { version: '15', protocol: PROTOCOL_3_2, keyBytes: 4, speaks: PROTOCOL_3_0 },
  { version: '18', protocol: PROTOCOL_3_0, keyBytes: 4, speaks: null },
  { version: '18', protocol: PROTOCOL_3_2, keyBytes: 32, speaks: null },
  { version: '18', protocol: 0x0003_270f, keyBytes: 32, speaks: PROTOCOL_3_2 },
] as const;

describe.skipIf(isMissing('postgres'))('start-up with real servers', () => {
  const servers = new Map<string, PostgresServer>();

  beforeAll(async () => {
    for (const version of ['15', '18'] as const) servers.set(version, await startPostgres({ version }));
  });
  afterAll(async () => {
    for (const server of servers.values()) await server.stop();
  });

  it.each(VERSIONS)(
    'version $version, protocol $protocol',
    async ({ version, protocol, keyBytes, speaks }) => {
      const server = servers.get(version);
      if (server === undefined) throw new Error(`PostgreSQL ${version} did not start`);
      const address = { host: server.socketDir, port: server.port, user: server.user };
      const client = await WireClient.connect({ ...address, protocol });
      expect(client.negotiated?.protocol ?? null).toBe(speaks);
      expect(client.key.key).toHaveLength(keyBytes);

      client.send((out) => encodeQuery(out, 'select pg_sleep(60)'));
      const sleeping = "select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
      await waitFor(
        'the statement to run',
        async () => (await server.query(sleeping, [client.key.processId])).length > 0,
      );
      await cancel(server, client.key);
      const messages = await client.untilReady();
      expect(messages.map(({ type }) => type)).toContain('E');
      expect(messages.find(({ type }) => type === 'E')?.body.toString('latin1')).toContain('C57014\0');
      await client.close();
    },
  );
});

async function cancel(server: PostgresServer, key: BackendKeyData): Promise<void> {
  const socket = connect(`${server.socketDir}/.s.PGSQL.${server.port}`);
  const out = new ByteWriter(64);
  encodeCancelRequest(out, key);
  socket.resume().write(out.copy());
  await once(socket, 'close');
}
