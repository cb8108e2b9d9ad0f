/** The contract of `src/transport/link.ts` inside TLS, both sides, on each driver; certificates by OpenSSL's command. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ClientTlsOptions, Link, ServerTlsOptions } from '../../../src/transport/link.ts';
import {
  Bench,
  DRIVERS,
  Recorder,
  collect,
  failsWith,
  frame,
  frameConsumer,
  openSockets,
  until,
} from './support.ts';

let folder: string;
const pem = (name: string): string => readFileSync(join(folder, name), 'utf8');
const openssl = (command: string): void => {
  execFileSync('openssl', command.split(' '), { cwd: folder, stdio: 'pipe' });
};

function issue(name: string, ca: string, subject: string, extensions: string): void {
  writeFileSync(join(folder, `${name}.ext`), extensions);
  openssl(`req -newkey rsa:2048 -nodes -keyout ${name}.key -out ${name}.csr -subj ${subject}`);
  openssl(
    `x509 -req -in ${name}.csr -CA ${ca}.crt -CAkey ${ca}.key -CAcreateserial -days 10 -sha384 ` +
      `-extfile ${name}.ext -out ${name}.crt`,
  );
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'link-tls-'));
  for (const ca of ['ca', 'otherca']) {
    openssl(`req -x509 -newkey rsa:2048 -nodes -keyout ${ca}.key -out ${ca}.crt -days 10 -subj /CN=${ca}`);
  }
  issue('server', 'ca', '/CN=db.example', 'subjectAltName=DNS:db.example,DNS:localhost');
  issue('ann', 'ca', '/CN=ann', 'extendedKeyUsage=clientAuth');
  issue('mallory', 'otherca', '/CN=ann', 'extendedKeyUsage=clientAuth');
});

afterAll(() => rmSync(folder, { recursive: true }));

describe.each(DRIVERS)('%s', (driver) => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench(driver);
  });

  afterEach(async () => {
    await bench.close();
  });

  function serverOptions(more: Partial<ServerTlsOptions> = {}): ServerTlsOptions {
    return {
      secureContext: { cert: pem('server.crt'), key: pem('server.key'), ca: pem('ca.crt') },
      requestClientCertificate: false,
      handshakeTimeoutMs: 10_000,
      ...more,
    };
  }

  function clientOptions(more: Partial<ClientTlsOptions> = {}): ClientTlsOptions {
    const base = { host: 'db.example', ca: pem('ca.crt'), cert: '', key: '', handshakeTimeoutMs: 10_000 };
    return { ...base, verify: 'full', ...more };
  }

  /** Answers the first byte with 'S', as PostgreSQL answers an SSLRequest, and goes on inside TLS. */
  async function listenSecured(options: ServerTlsOptions) {
    const outcome = Promise.withResolvers<{ link: Link; recorder: Recorder }>();
    outcome.promise.catch(() => undefined);
    const listener = await bench.listen((plain) => {
      const first = new Recorder();
      first.consume = (_bytes, _start, end) => {
        plain.send(Buffer.from('S'));
        plain.startServerTls(options).then((link) => {
          const recorder = new Recorder();
          recorder.consume = frameConsumer((bytes, start, end) => link.send(bytes, start, end));
          link.handler = recorder;
          outcome.resolve({ link, recorder });
        }, outcome.reject);
        return end;
      };
      plain.handler = first;
    });
    return { port: listener.port, secured: outcome.promise };
  }

  /** A plain TLS client of Node's that asks first, as libpq does. */
  async function nodeClient(port: number, options: object = {}): Promise<TLSSocket> {
    const socket = await bench.client(port);
    socket.write('?');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toBe('S');
    const secured = connectTls({ socket, ca: pem('ca.crt'), servername: 'db.example', ...options });
    secured.on('error', () => undefined);
    bench.sockets.push(secured);
    return secured;
  }

  /** A TLS server of Node's behind a one-byte question. */
  async function nodeServer(options: TlsOptions = {}) {
    const server = createServer({ cert: pem('server.crt'), key: pem('server.key'), ...options });
    const sockets: TLSSocket[] = [];
    server.on('tlsClientError', () => undefined);
    server.on('secureConnection', (socket) => {
      socket.on('error', () => undefined);
      sockets.push(socket);
      socket.pipe(socket);
    });
    const { createServer: createPlain } = await import('node:net');
    const plain = createPlain({ allowHalfOpen: true }, (socket) => {
      bench.sockets.push(socket);
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write('S');
        server.emit('connection', socket);
      });
    });
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const address = plain.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    return { port, sockets, close: () => plain.close() };
  }

  /** Dials, asks, and upgrades. */
  async function dialSecured(port: number, options: ClientTlsOptions): Promise<Link> {
    const link = await bench.reactor.dial({ host: '127.0.0.1', port, timeoutMs: 5_000 });
    const recorder = new Recorder();
    link.handler = recorder;
    link.send(Buffer.from('?'));
    await until(() => recorder.bytes.length === 1, 'the answer');
    return link.startClientTls(options);
  }

  const endPoint = (): string =>
    createHash('sha384')
      .update(derOf(pem('server.crt')))
      .digest('hex');

  describe('server side', () => {
    test('continues inside TLS, echoes megabytes, tells the facts', async () => {
      const { port, secured } = await listenSecured(serverOptions({ alpnProtocols: ['postgresql'] }));
      const socket = await nodeClient(port, { ALPNProtocols: ['postgresql'] });
      const received = collect(socket);
      const message = frame(Buffer.alloc(150_000, 'm'));
      for (let i = 0; i < 20; i++) socket.write(message);
      await until(() => received.bytes().length === 20 * message.length, 'the echo');
      const { link } = await secured;
      expect(link.tls).toMatchObject({
        version: 'TLSv1.3',
        alpn: 'postgresql',
        clientCertificate: null,
        clientCommonName: '',
      });
      expect(Buffer.from(link.tls?.serverEndPoint ?? []).toString('hex')).toBe(endPoint());
      expect(link.peer.address).toBe('127.0.0.1');
    });

    test('output goes through the turn: written only when it is granted', async () => {
      const { port, secured } = await listenSecured(serverOptions());
      const socket = await nodeClient(port);
      const received = collect(socket);
      const { link } = await secured;
      let grant = false;
      let ends = 0;
      bench.reactor.onTurnEnd = () => {
        ends++;
        return grant;
      };
      link.send(Buffer.from('held'));
      await until(() => ends === 1);
      expect(received.bytes().length).toBe(0);
      grant = true;
      bench.reactor.retryTurn();
      await until(() => received.bytes().length === 4);
    });

    test('direct TLS: the start of the ClientHello that was read goes in', async () => {
      const { promise, resolve, reject } = Promise.withResolvers<Link>();
      const listener = await bench.listen((plain) => {
        const first = new Recorder();
        first.consume = (bytes, start, end) => {
          if (end - start < 5) return start;
          plain.pause();
          plain
            .startServerTls(serverOptions(), Buffer.from(bytes.subarray(start, end)))
            .then(resolve, reject);
          return end;
        };
        plain.handler = first;
      });
      const socket = connectTls({
        port: listener.port,
        host: '127.0.0.1',
        ca: pem('ca.crt'),
        servername: 'db.example',
      });
      bench.sockets.push(socket);
      const link = await promise;
      link.handler = new Recorder();
      const received = collect(socket);
      link.send(Buffer.from('hello'));
      await until(() => received.bytes().length === 5);
      expect(socket.authorized).toBe(true);
    });

    test('half-close and full close inside TLS', async () => {
      const { port, secured } = await listenSecured(serverOptions());
      const socket = await nodeClient(port);
      const { link, recorder } = await secured;
      const received = collect(socket);
      socket.end();
      await until(() => recorder.ended, 'the end');
      link.send(Buffer.from('rest'));
      link.end();
      await until(() => recorder.closed, 'the close');
      expect(recorder.closedWith).toBeNull();
      await until(() => received.ended());
    });

    test('a client certificate is verified and told', async () => {
      const { port, secured } = await listenSecured(serverOptions({ requestClientCertificate: true }));
      await nodeClient(port, { cert: pem('ann.crt'), key: pem('ann.key') });
      const { link } = await secured;
      expect(link.tls?.clientCommonName).toBe('ann');
      expect(Buffer.from(link.tls?.clientCertificate ?? []).equals(derOf(pem('ann.crt')))).toBe(true);
    });

    test('a client without a certificate is let through, one with a foreign certificate is not', async () => {
      const options = serverOptions({ requestClientCertificate: true });
      const without = await listenSecured(options);
      await nodeClient(without.port);
      expect((await without.secured).link.tls?.clientCertificate).toBeNull();
      const foreign = await listenSecured(options);
      await nodeClient(foreign.port, { cert: pem('mallory.crt'), key: pem('mallory.key') });
      await expect(foreign.secured).rejects.toMatchObject({
        kind: 'denied',
        code: 'TRANSPORT_CLIENT_CERTIFICATE',
      });
    });

    test('TLS 1.1 is refused', async () => {
      const { port, secured } = await listenSecured(serverOptions());
      await nodeClient(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
      await expect(secured).rejects.toMatchObject({ kind: 'unavailable', code: 'TRANSPORT_TLS_FAILED' });
    });

    test('an unknown ALPN protocol is refused', async () => {
      const { port, secured } = await listenSecured(serverOptions({ alpnProtocols: ['postgresql'] }));
      await nodeClient(port, { ALPNProtocols: ['h2'] });
      await expect(secured).rejects.toMatchObject({ kind: 'unavailable' });
    });

    test('garbage instead of a ClientHello, silence, and a client that leaves', async () => {
      const before = openSockets();
      const garbage = await listenSecured(serverOptions());
      const socket = await bench.client(garbage.port);
      socket.write('?');
      await once(socket, 'data');
      socket.write('Q\0\0\0\x10select 1;\0 and so on, not TLS at all');
      await expect(garbage.secured).rejects.toMatchObject({ code: 'TRANSPORT_TLS_FAILED' });

      const silent = await listenSecured(serverOptions({ handshakeTimeoutMs: 50 }));
      const quiet = await bench.client(silent.port);
      quiet.write('?');
      await expect(silent.secured).rejects.toMatchObject({ code: 'TRANSPORT_TLS_TIMEOUT' });

      const left = await listenSecured(serverOptions());
      const leaving = await bench.client(left.port);
      leaving.write('?');
      await once(leaving, 'data');
      leaving.destroy();
      await expect(left.secured).rejects.toMatchObject({ kind: 'unavailable' });

      for (const each of [socket, quiet, leaving]) each.destroy();
      // Three listeners are open until the reactor closes.
      await until(() => openSockets() <= before + 3, 'descriptors to be given back');
    });
  });

  describe('client side', () => {
    test('verify-full: connects, echoes, tells the server hash', async () => {
      const server = await nodeServer({ ALPNProtocols: ['postgresql'] });
      const link = await dialSecured(server.port, clientOptions({ alpnProtocols: ['postgresql'] }));
      const recorder = new Recorder();
      link.handler = recorder;
      for (let i = 0; i < 10; i++) link.send(Buffer.alloc(100_000, i));
      await until(() => recorder.bytes.length === 1_000_000);
      expect(link.tls?.alpn).toBe('postgresql');
      expect(Buffer.from(link.tls?.serverEndPoint ?? []).toString('hex')).toBe(endPoint());
      server.close();
    });

    test('a wrong authority is refused, except without verification', async () => {
      const server = await nodeServer();
      const ca = pem('otherca.crt');
      for (const verify of ['ca', 'full'] as const) {
        await expect(dialSecured(server.port, clientOptions({ ca, verify }))).rejects.toMatchObject({
          kind: 'denied',
          code: 'TRANSPORT_CERTIFICATE',
        });
      }
      await expect(dialSecured(server.port, clientOptions({ ca: '' }))).rejects.toMatchObject({
        kind: 'denied',
      });
      const link = await dialSecured(server.port, clientOptions({ ca, verify: 'none' }));
      link.handler = new Recorder();
      link.destroy();
      server.close();
    });

    test('a wrong host name is refused by verify-full only', async () => {
      const server = await nodeServer();
      const host = 'other.example';
      await expect(dialSecured(server.port, clientOptions({ host }))).rejects.toSatisfy(
        failsWith('denied', 'other.example'),
      );
      await expect(dialSecured(server.port, clientOptions({ host: '127.0.0.1' }))).rejects.toMatchObject({
        kind: 'denied',
      });
      const link = await dialSecured(server.port, clientOptions({ host, verify: 'ca' }));
      link.handler = new Recorder();
      link.destroy();
      server.close();
    });

    test('our certificate is presented when the server asks', async () => {
      const server = await nodeServer({ requestCert: true, rejectUnauthorized: true, ca: pem('ca.crt') });
      const link = await dialSecured(
        server.port,
        clientOptions({ cert: pem('ann.crt'), key: pem('ann.key') }),
      );
      link.handler = new Recorder();
      await until(() => server.sockets.length === 1);
      expect(server.sockets[0].getPeerCertificate().subject.CN).toBe('ann');
      server.close();
    });

    test('settings that are no PEM are named', async () => {
      const server = await nodeServer();
      await expect(
        dialSecured(server.port, clientOptions({ cert: 'not PEM', key: 'neither' })),
      ).rejects.toMatchObject({ kind: 'invalid', code: 'TRANSPORT_TLS_SETTINGS' });
      server.close();
    });

    test('a server that speaks no TLS', async () => {
      const listener = await bench.listen((link) => {
        const recorder = new Recorder();
        recorder.consume = (_bytes, start, end) => {
          link.send(Buffer.from(end - start === 1 ? 'S' : 'E: I have never heard of TLS'));
          return end;
        };
        link.handler = recorder;
      });
      await expect(dialSecured(listener.port, clientOptions())).rejects.toMatchObject({
        kind: 'unavailable',
        code: 'TRANSPORT_TLS_FAILED',
      });
    });
  });

  test('relay from TLS to TLS: both links are of one turn scheme', async () => {
    const server = await nodeServer();
    let flushed = 0;
    bench.reactor.onTurnEnd = () => {
      flushed++;
      return true;
    };
    const upstream = await dialSecured(server.port, clientOptions());
    const { port, secured } = await listenSecured(serverOptions());
    const socket = await nodeClient(port);
    const { link: client } = await secured;
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ]) {
      const recorder = new Recorder();
      recorder.consume = (bytes, start, end) => {
        to.send(bytes, start, end);
        return end;
      };
      from.handler = recorder;
    }
    const received = collect(socket);
    const before = flushed;
    socket.write('there and back');
    await until(() => received.bytes().length === 14);
    expect(flushed).toBeGreaterThanOrEqual(before + 2);
    server.close();
  });
});

function derOf(certificate: string): Buffer {
  return Buffer.from(certificate.replaceAll(/-----[A-Z ]+-----|\s/g, ''), 'base64');
}
