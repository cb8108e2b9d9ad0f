import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serverEndPoint } from './channel-binding.ts';
import { makeSelfSigned } from './self-signed.ts';
import { ServerCertificate, type ServerCertificateOptions } from './tls.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certificates-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

function openssl(command: string): string {
  return execFileSync('openssl', command.split(' '), { cwd: folder, stdio: 'pipe' }).toString();
}

function options(more: Partial<ServerCertificateOptions> = {}): ServerCertificateOptions {
  const base = { certFile: '', keyFile: '', clientCaFile: '', folder: join(folder, 'tls') };
  return { ...base, now: () => new Date(), ...more };
}

describe('self-signed', () => {
  const make = () =>
    makeSelfSigned({
      commonName: 'db.example',
      names: ['localhost', 'db.example', '127.0.0.1', '::1', 'fe80::1:2'],
      notBefore: new Date('2026-01-02T03:04:05Z'),
      notAfter: new Date('2051-06-07T08:09:10Z'),
    });

  test('OpenSSL reads it as meant: names, validity on both sides of 2050, v3, and verifies it against itself', () => {
    const { cert } = make();
    writeFileSync(join(folder, 'c.pem'), cert);
    const text = openssl('x509 -in c.pem -noout -text');
    expect(text).toContain('Version: 3');
    expect(text).toContain('DNS:localhost, DNS:db.example, IP Address:127.0.0.1');
    expect(text).toContain('IP Address:FE80:0:0:0:0:0:1:2');
    expect(text).toContain('Not Before: Jan  2 03:04:05 2026');
    expect(text).toContain('Not After : Jun  7 08:09:10 2051');
    expect(text).toContain('CA:FALSE');
    expect(openssl('verify -x509_strict -attime 1800000000 -CAfile c.pem c.pem')).toContain('OK');
    expect(openssl('asn1parse -in c.pem')).toContain('UTCTIME');
  });

  test('a client that trusts it verifies it in full, by name and by address', async () => {
    const { cert, key } = make();
    const server = createServer({ cert, key });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    for (const host of ['localhost', '127.0.0.1']) {
      const socket = connect({ port, host, ca: cert });
      await new Promise((resolve, reject) => {
        socket.once('secureConnect', resolve);
        socket.once('error', reject);
      });
      expect(socket.authorized).toBe(true);
      socket.destroy();
    }
    server.close();
  });

  test('two are never the same', () => {
    expect(new X509Certificate(make().cert).serialNumber).not.toBe(
      new X509Certificate(make().cert).serialNumber,
    );
  });
});

describe('tls-server-end-point', () => {
  test.each([
    ['rsa:2048', '-sha256', 'sha256'],
    ['rsa:2048', '-sha1', 'sha256'],
    ['rsa:2048', '-sha384', 'sha384'],
    ['rsa:2048', '-sha512', 'sha512'],
    ['rsa:2048', '-sha512 -sigopt rsa_padding_mode:pss', 'sha512'],
    ['rsa:2048', '-sha1 -sigopt rsa_padding_mode:pss', 'sha256'],
    ['ec -pkeyopt ec_paramgen_curve:P-384', '-sha384', 'sha384'],
  ])('%s %s hashes with %s', (key, digest, hash) => {
    openssl(`req -x509 -newkey ${key} -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=x ${digest}`);
    const { raw } = new X509Certificate(readFileSync(join(folder, 'c.pem')));
    expect(Buffer.from(serverEndPoint(raw)).toString('hex')).toBe(createHash(hash).update(raw).digest('hex'));
  });

  test('Ed25519 has none', () => {
    openssl('req -x509 -newkey ed25519 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=x');
    const { raw } = new X509Certificate(readFileSync(join(folder, 'c.pem')));
    expect(serverEndPoint(raw).length).toBe(0);
  });

  test('every truncation of a certificate is refused with an error of ours, or hashed whole', () => {
    const { raw } = new X509Certificate(
      makeSelfSigned({ commonName: 'x', names: ['x'], notBefore: new Date(), notAfter: new Date() }).cert,
    );
    for (let length = 0; length < raw.length; length++) {
      expect(() => serverEndPoint(raw.subarray(0, length)), `${length} bytes`).toThrow(
        expect.objectContaining({ code: 'TRANSPORT_CERTIFICATE_MALFORMED' }) as Error,
      );
    }
  });
});

describe('ServerCertificate', () => {
  test('a self-signed one is made once and kept, readable by its owner only', async () => {
    const first = await ServerCertificate.load(options());
    expect(statSync(join(folder, 'tls/server.pem')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(folder, 'tls/server.crt'), 'utf8')).not.toContain('PRIVATE');
    expect(new X509Certificate(readFileSync(join(folder, 'tls/server.crt'))).fingerprint256).toBe(
      first.fingerprint,
    );
    expect(first.isSelfSigned).toBe(true);
    const second = await ServerCertificate.load(options());
    expect(second.fingerprint).toBe(first.fingerprint);
    expect(second.serverEndPoint).toEqual(first.serverEndPoint);
  });

  test('it is renewed before it ends', async () => {
    const first = await ServerCertificate.load(options());
    const soon = new Date(first.validTo.getTime() - 86_400_000);
    const second = await ServerCertificate.load(options({ now: () => soon }));
    expect(second.fingerprint).not.toBe(first.fingerprint);
    expect(second.validTo.getTime()).toBeGreaterThan(first.validTo.getTime());
  });

  test('files are used, reloaded when they change, and kept when the change is no good', async () => {
    const make = (name: string): void => {
      openssl(`req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 9 -subj /CN=${name}`);
    };
    make('one');
    const files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') };
    const certificate = await ServerCertificate.load(options(files));
    const { fingerprint, secureContext } = certificate;
    expect(await certificate.reload()).toBe(false);
    expect(certificate.secureContext).toBe(secureContext);
    make('two');
    expect(await certificate.reload()).toBe(true);
    expect(certificate.fingerprint).not.toBe(fingerprint);
    const kept = certificate.fingerprint;
    writeFileSync(files.certFile, 'half a file');
    await expect(certificate.reload()).rejects.toMatchObject({ kind: 'invalid' });
    expect(certificate.fingerprint).toBe(kept);
  });

  test('what cannot work is refused at once, and named', async () => {
    openssl('req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 9 -subj /CN=a');
    openssl('req -x509 -newkey rsa:2048 -nodes -keyout other.pem -out cert2.pem -days 9 -subj /CN=b');
    const certFile = join(folder, 'cert.pem');
    const load = (more: Partial<ServerCertificateOptions>) => ServerCertificate.load(options(more));
    await expect(load({ certFile })).rejects.toMatchObject({ code: 'TRANSPORT_CERTIFICATE_HALF' });
    await expect(load({ certFile, keyFile: join(folder, 'other.pem') })).rejects.toMatchObject({
      code: 'TRANSPORT_CERTIFICATE_KEY',
    });
    await expect(load({ certFile, keyFile: join(folder, 'missing.pem') })).rejects.toMatchObject({
      code: 'TRANSPORT_CERTIFICATE_UNREADABLE',
    });
    await expect(load({ certFile, keyFile: certFile })).rejects.toMatchObject({
      code: 'TRANSPORT_CERTIFICATE_INVALID',
    });
    await expect(load({ clientCaFile: join(folder, 'key.pem') })).rejects.toMatchObject({
      code: 'TRANSPORT_CERTIFICATE_INVALID',
    });
  });
});
