/** Our log-in against a real server, and our verifiers inside of it. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeVerifier } from '../../../src/wire/postgres/scram.ts';
import { isMissing, startPostgres, type PostgresServer } from '../../servers/index.ts';
import { WireClient } from './client.ts';

/** Passwords that the server prepares, or takes as they are, in every way. */
const PASSWORDS: readonly (readonly [name: string, stored: string, typed: string])[] = [
  ['plain', 'pencil', 'pencil'],
  ['compatibility characters', 'ﬁ\u2168\u00aa', 'fiIXa'],
  ['spaces and what goes', 'a\u00a0b\u00ad\ufeff', 'a b'],
  ['an emoji, unassigned in Unicode 3.2', '\u00aa\u{1f600}', '\u00aa\u{1f600}'],
  ['right to left', '\u0627\u0644\u00ad', '\u0627\u0644'],
  ['right to left that ends otherwise', '\u06271\u00ad', '\u06271\u00ad'],
  ['a control character beyond ASCII', '\u00aa\u0080', '\u00aa\u0080'],
  ['a private character', '\u00aa\ue000', '\u00aa\ue000'],
  ['nothing left', '\u00ad', '\u00ad'],
  ['a zero-width space', 'a\u200bb', 'a b'],
];

describe.skipIf(isMissing('postgres'))('SCRAM with a real server', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({
      version: '15',
      hba: [
        'local all all trust',
        'host all md5_user 127.0.0.1/32 md5',
        'host all all 127.0.0.1/32 scram-sha-256',
      ],
      initSql: `create role somebody login; create role md5_user login;
        set password_encryption = 'md5'; alter role md5_user password 'pencil'`,
    });
  });
  afterAll(async () => server?.stop());

  const logIn = async (password: string, user = 'somebody'): Promise<void> => {
    const client = await WireClient.connect({ host: '127.0.0.1', port: server.port, user, password });
    await client.extended('select 1', 0);
    await client.close();
  };
  const refused = expect.objectContaining({ code: '28P01' }) as Error;

  it.each(PASSWORDS)('the server prepares as we do: %s', async (_, stored, typed) => {
    await server.query(`alter role somebody password U&'${escaped(stored)}'`);
    await logIn(stored);
    await logIn(typed);
    await expect(logIn(`${typed}x`)).rejects.toThrow(refused);
  });

  it.each(PASSWORDS)('the server takes our verifiers: %s', async (_, stored, typed) => {
    const salt = randomBytes(16);
    const { storedKey, serverKey } = makeVerifier(stored, salt, 4096);
    const keys = [storedKey, serverKey].map((key) => Buffer.from(key).toString('base64')).join(':');
    await server.query(
      `alter role somebody password 'SCRAM-SHA-256$4096:${salt.toString('base64')}$${keys}'`,
    );
    await logIn(typed);
    await expect(logIn(`${typed}x`)).rejects.toThrow(refused);
  });

  it('MD5', async () => {
    await logIn('pencil', 'md5_user');
    await expect(logIn('pen', 'md5_user')).rejects.toThrow(refused);
  });
});

function escaped(text: string): string {
  return Array.from(text, (char) => `\\+${(char.codePointAt(0) ?? 0).toString(16).padStart(6, '0')}`).join(
    '',
  );
}
