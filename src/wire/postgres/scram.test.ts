import { pbkdf2Sync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  chooseScramMechanism,
  type DeriveKey,
  makeVerifier,
  makeVerifierWith,
  md5Response,
  mockSalt,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  ScramClient,
  type ScramKeys,
  type ScramMechanism,
  scramMechanisms,
  ScramServer,
} from './scram.ts';

const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const iterations = 4096;
const deriveKey: DeriveKey = (password, key, rounds) =>
  Promise.resolve(pbkdf2Sync(password, key, rounds, 32, 'sha256'));
const endPoint = Buffer.alloc(32, 0xcb);

interface Named extends ScramKeys {
  readonly name: string;
}

function verifier(name: string, password: string): Named {
  return { name, ...makeVerifier(password, salt, iterations) };
}

const alice = verifier('password', 'pencil');

interface ServerSetup {
  readonly mechanism?: ScramMechanism;
  readonly serverEndPoint?: Uint8Array | null;
  readonly verifiers?: readonly Named[];
  readonly nonce?: string;
}

function server(setup: ServerSetup = {}): ScramServer<Named> {
  return new ScramServer({
    mechanism: SCRAM_SHA_256,
    serverEndPoint: null,
    salt,
    iterations,
    verifiers: [alice],
    ...setup,
  });
}

function client(
  mechanism: ScramMechanism = SCRAM_SHA_256,
  serverEndPoint: Uint8Array | null = null,
): ScramClient {
  return new ScramClient({ mechanism, serverEndPoint });
}

async function logIn(
  ours: ScramServer<Named>,
  theirs: ScramClient,
  password: string,
): Promise<string | null> {
  const proof = await theirs.proof(ours.challenge(theirs.first()), password, deriveKey);
  const result = ours.verify(proof);
  if (!result.ok) return null;
  theirs.finish(result.message);
  return result.verifier.name;
}

const protocolError = expect.objectContaining({ kind: 'protocol', code: 'SCRAM_MALFORMED' }) as Error;

describe('SCRAM-SHA-256', () => {
  // RFC 7677 §3
  const clientFirst = 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO';
  const serverNonce = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const serverFirst = `r=rOprNGfwEbeRWgbNEkqO${serverNonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
  const clientFinal = `c=biws,r=rOprNGfwEbeRWgbNEkqO${serverNonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`;
  const serverFinal = 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=';

  it('server side of the example in RFC 7677', () => {
    const ours = server({ nonce: serverNonce });
    expect(ours.challenge(Buffer.from(clientFirst)).toString()).toBe(serverFirst);
    const result = ours.verify(Buffer.from(clientFinal));
    expect(result).toMatchObject({ ok: true, verifier: alice });
    expect(result.ok && result.message.toString()).toBe(serverFinal);
  });

  it('client side of the example in RFC 7677', async () => {
    const theirs = new ScramClient({
      mechanism: SCRAM_SHA_256,
      serverEndPoint: null,
      username: 'user',
      nonce: 'rOprNGfwEbeRWgbNEkqO',
    });
    expect(theirs.first().toString()).toBe(clientFirst);
    const proof = await theirs.proof(Buffer.from(serverFirst), 'pencil', deriveKey);
    expect(proof.toString()).toBe(clientFinal);
    expect(() => theirs.finish(Buffer.from(serverFinal))).not.toThrow();
  });

  it('says which of several secrets was proved', async () => {
    const verifiers = [alice, verifier('key 1', 'dbw_1'), verifier('key 2', 'dbw_2')];
    expect(await logIn(server({ verifiers }), client(), 'pencil')).toBe('password');
    expect(await logIn(server({ verifiers }), client(), 'dbw_2')).toBe('key 2');
    expect(await logIn(server({ verifiers }), client(), 'dbw_3')).toBeNull();
  });

  it('without any verifier every proof is wrong', async () => {
    expect(await logIn(server({ verifiers: [] }), client(), 'pencil')).toBeNull();
    // Not even one made for keys of zeros, with which the time is spent.
    const zero = { name: 'zero', storedKey: Buffer.alloc(32), serverKey: Buffer.alloc(32) };
    expect(await logIn(server({ verifiers: [zero] }), client(), '')).toBeNull();
  });

  it('both sides prepare the password, so its spelling does not matter', async () => {
    const verifiers = [verifier('ligature', '\u2168ﬁ\u00ad')];
    expect(await logIn(server({ verifiers }), client(), 'IXfi')).toBe('ligature');
    expect(await makeVerifierWith('\u2168ﬁ', salt, 1, deriveKey)).toEqual(makeVerifier('IXfi', salt, 1));
  });

  it('any change of any message is noticed', async () => {
    const theirs = client();
    const ours = server();
    const proof = await theirs.proof(ours.challenge(theirs.first()), 'pencil', deriveKey);
    for (let i = 0; i < proof.length; i++) {
      const again = client();
      const other = server();
      const changed = await again.proof(other.challenge(again.first()), 'pencil', deriveKey);
      changed[i] ^= 1;
      let accepted: boolean;
      try {
        accepted = other.verify(changed).ok;
      } catch (error) {
        expect(error).toMatchObject({ name: 'AppError' });
        accepted = false;
      }
      expect(accepted, `byte ${i} of ${changed.toString('latin1')}`).toBe(false);
    }
  });
});

describe('channel binding', () => {
  it('is offered inside TLS, and the strongest common mechanism is chosen', () => {
    expect(scramMechanisms(null)).toEqual([SCRAM_SHA_256]);
    expect(scramMechanisms(endPoint)).toEqual([SCRAM_SHA_256_PLUS, SCRAM_SHA_256]);
    expect(chooseScramMechanism([SCRAM_SHA_256, SCRAM_SHA_256_PLUS], endPoint)).toBe(SCRAM_SHA_256_PLUS);
    expect(chooseScramMechanism([SCRAM_SHA_256_PLUS, SCRAM_SHA_256], null)).toBe(SCRAM_SHA_256);
    expect(chooseScramMechanism(['SCRAM-SHA-1'], endPoint)).toBeNull();
  });

  it('binds to the certificate', async () => {
    const ours = server({ mechanism: SCRAM_SHA_256_PLUS, serverEndPoint: endPoint });
    expect(await logIn(ours, client(SCRAM_SHA_256_PLUS, endPoint), 'pencil')).toBe('password');
  });

  it('another certificate in between is noticed', async () => {
    const ours = server({ mechanism: SCRAM_SHA_256_PLUS, serverEndPoint: endPoint });
    await expect(logIn(ours, client(SCRAM_SHA_256_PLUS, Buffer.alloc(32, 1)), 'pencil')).rejects.toThrow(
      expect.objectContaining({ kind: 'denied', code: 'SCRAM_BINDING_MISMATCH' }),
    );
  });

  it('a stripped offer is noticed: the client says "y", and we did offer it', async () => {
    const theirs = client(SCRAM_SHA_256, endPoint);
    expect(theirs.first().toString()).toMatch(/^y,,/);
    await expect(
      logIn(server({ serverEndPoint: endPoint }), client(SCRAM_SHA_256, endPoint), 'pencil'),
    ).rejects.toThrow(expect.objectContaining({ kind: 'denied', code: 'SCRAM_BINDING_STRIPPED' }));
    // A client inside TLS that does not know channel binding says "n", and one outside of it may say "y".
    expect(await logIn(server({ serverEndPoint: endPoint }), client(), 'pencil')).toBe('password');
    expect(await logIn(server(), client(SCRAM_SHA_256, endPoint), 'pencil')).toBe('password');
  });

  it.each([
    ['n,,', SCRAM_SHA_256_PLUS],
    ['y,,', SCRAM_SHA_256_PLUS],
    ['p=tls-unique,,', SCRAM_SHA_256_PLUS],
    ['p=tls-server-end-point,,', SCRAM_SHA_256],
  ] as const)('flag %s does not go with %s', (header, mechanism) => {
    const ours = server({ mechanism, serverEndPoint: endPoint });
    expect(() => ours.challenge(Buffer.from(`${header}n=,r=abc`))).toThrow(protocolError);
  });
});

describe('what no honest client sends', () => {
  it.each([
    ['nothing', ''],
    ['no gs2 header', 'n=,r=abc'],
    ['an unknown flag', 'x,,n=,r=abc'],
    ['an authorization identity', 'n,a=other,n=,r=abc'],
    ['a mandatory extension', 'n,,m=x,n=,r=abc'],
    ['no nonce', 'n,,n='],
    ['an empty nonce', 'n,,n=,r='],
    ['a nonce that is not printable', 'n,,n=,r=a\u0001b'],
    ['a nonce of 2 KB', `n,,n=,r=${'x'.repeat(2048)}`],
    ['a name of 5 KB', `n,,n=${'x'.repeat(5000)},r=abc`],
    ['a NUL', 'n,,n=\0,r=abc'],
  ])('client-first with %s', (_, message) => {
    expect(() => server().challenge(Buffer.from(message))).toThrow(protocolError);
  });

  it.each([
    ['nothing', () => ''],
    ['no proof', (nonce: string) => `c=biws,r=${nonce}`],
    ['another nonce', (nonce: string) => `c=biws,r=${nonce}x,p=${'A'.repeat(43)}=`],
    ['our nonce alone', (nonce: string) => `c=biws,r=${nonce.slice(3)},p=${'A'.repeat(43)}=`],
    ['a short proof', (nonce: string) => `c=biws,r=${nonce},p=AAAA`],
    ['a proof that is no base64', (nonce: string) => `c=biws,r=${nonce},p=AAAAA`],
    ['a long proof', (nonce: string) => `c=biws,r=${nonce},p=${'A'.repeat(100)}`],
    ['5 KB of extensions', (nonce: string) => `c=biws,r=${nonce},x=${'y'.repeat(5000)},p=${'A'.repeat(43)}=`],
  ])('client-final with %s', (_, message) => {
    const ours = server({ nonce: 'server' });
    ours.challenge(Buffer.from('n,,n=,r=abc'));
    expect(() => ours.verify(Buffer.from(message('abcserver')))).toThrow(protocolError);
  });

  it('client-final with another gs2 header than before', () => {
    const ours = server({ nonce: 'server' });
    ours.challenge(Buffer.from('n,,n=,r=abc'));
    const binding = Buffer.from('y,,').toString('base64');
    expect(() => ours.verify(Buffer.from(`c=${binding},r=abcserver,p=${'A'.repeat(43)}=`))).toThrow(
      expect.objectContaining({ code: 'SCRAM_BINDING_MISMATCH' }),
    );
  });

  it('takes extensions that are not mandatory', () => {
    const ours = server({ nonce: 'server' });
    expect(ours.challenge(Buffer.from('n,,n=,r=abc,x=1')).toString()).toMatch(/^r=abcserver,/);
    expect(ours.verify(Buffer.from(`c=biws,r=abcserver,x=1,p=${'A'.repeat(43)}=`))).toEqual({ ok: false });
  });

  it('a second proof in one exchange is a bug of ours', () => {
    const ours = server({ nonce: 'server' });
    ours.challenge(Buffer.from('n,,n=,r=abc'));
    const proof = Buffer.from(`c=biws,r=abcserver,p=${'A'.repeat(43)}=`);
    expect(ours.verify(proof)).toEqual({ ok: false });
    expect(() => ours.verify(proof)).toThrow(/follows its challenge/);
  });

  it('random bytes and mutated messages give nothing but AppErrors', () => {
    const seed = Buffer.from(`c=biws,r=abcserver,p=${'A'.repeat(43)}=`);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(60), fc.nat(255), (noise, at, byte) => {
        const mutated = Buffer.from(seed);
        mutated[at % mutated.length] = byte;
        for (const message of [noise, mutated]) {
          const fresh = server({ nonce: 'server' });
          expectAppErrorOrValue(() => fresh.challenge(message));
          const challenged = server({ nonce: 'server' });
          challenged.challenge(Buffer.from('n,,n=,r=abc'));
          expectAppErrorOrValue(() => challenged.verify(message));
        }
      }),
    );
  });
});

function expectAppErrorOrValue(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    expect(error).toMatchObject({ name: 'AppError' });
  }
}

describe('a hostile upstream', () => {
  const start = (): { theirs: ScramClient; nonce: string } => {
    const theirs = new ScramClient({ mechanism: SCRAM_SHA_256, serverEndPoint: null, nonce: 'abc' });
    theirs.first();
    return { theirs, nonce: 'abc' };
  };

  it.each([
    ['1,000,001 iterations', 'r=abcdef,s=AAAA,i=1000001'],
    ['9,999,999,999 iterations', 'r=abcdef,s=AAAA,i=9999999999'],
    ['no iterations', 'r=abcdef,s=AAAA,i=0'],
    ['negative iterations', 'r=abcdef,s=AAAA,i=-1'],
    ['our nonce only', 'r=abc,s=AAAA,i=4096'],
    ['a nonce of its own', 'r=abdef,s=AAAA,i=4096'],
    ['a nonce of 2 KB', `r=abc${'x'.repeat(2048)},s=AAAA,i=4096`],
    ['no salt', 'r=abcdef,s=,i=4096'],
    ['a salt that is no base64', 'r=abcdef,s=AAAAA,i=4096'],
    ['a salt of 2 KB', `r=abcdef,s=${'A'.repeat(2732)},i=4096`],
    ['a mandatory extension', 'm=x,r=abcdef,s=AAAA,i=4096'],
    ['5 KB', `r=abcdef,s=AAAA,i=4096,x=${'y'.repeat(5000)}`],
    ['nothing', ''],
  ])('server-first with %s is refused before any key is derived', async (_, message) => {
    const { theirs } = start();
    const never: DeriveKey = () => Promise.reject(new Error('a key was derived'));
    await expect(theirs.proof(Buffer.from(message), 'x', never)).rejects.toThrow(protocolError);
  });

  it.each([
    ['another signature', `v=${'A'.repeat(43)}=`, 'denied', 'SCRAM_SERVER_UNPROVED'],
    ['a short signature', 'v=AAAA', 'denied', 'SCRAM_SERVER_UNPROVED'],
    ['none', 'x=1', 'protocol', 'SCRAM_MALFORMED'],
    ['an error', 'e=invalid-proof\u0007', 'denied', 'SCRAM_REFUSED'],
  ])('server-final with %s ends the log-in', async (_, message, kind, code) => {
    const { theirs } = start();
    await theirs.proof(Buffer.from('r=abcdef,s=AAAA,i=4096'), 'x', deriveKey);
    expect(() => theirs.finish(Buffer.from(message))).toThrow(expect.objectContaining({ kind, code }));
  });
});

describe('the rest', () => {
  it('a made-up salt is stable, differs by user and secret, and looks like any other', () => {
    const secret = randomBytes(32);
    expect(mockSalt(secret, 'eve')).toEqual(mockSalt(secret, 'eve'));
    expect(mockSalt(secret, 'eve')).toHaveLength(16);
    expect(mockSalt(secret, 'eve')).not.toEqual(mockSalt(secret, 'ev\u{10065}'));
    expect(mockSalt(secret, 'eve')).not.toEqual(mockSalt(randomBytes(32), 'eve'));
  });

  it('MD5 response', () => {
    // What PostgreSQL 15 says: 'md5' || md5(md5('secretbob')::bytea || '\\x01020304'::bytea)
    expect(md5Response('bob', 'secret', Buffer.from([1, 2, 3, 4]))).toBe(
      'md5f21dfe33ff3a9e03dbc3e008251fe5cc',
    );
  });
});
