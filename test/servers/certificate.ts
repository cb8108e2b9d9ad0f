/** Certificates for tests, made by openssl: an authority of one's own, and certificates that it signed. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requirePath } from './available.ts';

/** All PEM. */
export interface Certificate {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface CertificateAuthority {
  readonly ca: string;
  /** `altNames` as openssl writes them: `DNS:localhost`, `IP:127.0.0.1`. */
  issue(commonName: string, altNames?: readonly string[]): Certificate;
}

/** A new authority, valid for some days. `keyType` "rsa" (2048 bits) or "ec" (P-256, the default). */
export function makeAuthority(keyType: 'rsa' | 'ec' = 'ec'): CertificateAuthority {
  const keyArgs =
    keyType === 'rsa' ? ['-newkey', 'rsa:2048'] : ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  const openssl = requirePath('openssl');
  const inFolder = <T>(work: (dir: string, run: (...args: readonly string[]) => void) => T): T => {
    const dir = mkdtempSync(join(tmpdir(), 'dbw-ca-'));
    try {
      return work(dir, (...args) => {
        execFileSync(openssl, [...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
      });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  };
  const root = inFolder((dir, run) => {
    const subject = ['-subj', '/CN=dbwitness test authority', '-days', '30'];
    run('req', '-x509', '-nodes', ...keyArgs, '-keyout', 'ca.key', '-out', 'ca.crt', ...subject);
    return {
      cert: readFileSync(join(dir, 'ca.crt'), 'utf8'),
      key: readFileSync(join(dir, 'ca.key'), 'utf8'),
    };
  });
  return {
    ca: root.cert,
    issue: (commonName, altNames = ['DNS:localhost', 'IP:127.0.0.1']) =>
      inFolder((dir, run) => {
        writeFileSync(join(dir, 'ca.crt'), root.cert);
        writeFileSync(join(dir, 'ca.key'), root.key, { mode: 0o600 });
        writeFileSync(join(dir, 'ext'), `subjectAltName=${altNames.join(',')}\n`);
        run('req', '-nodes', ...keyArgs, '-keyout', 'key', '-out', 'csr', '-subj', `/CN=${commonName}`);
        const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
        run('x509', '-req', '-in', 'csr', ...signer, '-days', '30', '-extfile', 'ext', '-out', 'crt');
        return {
          ca: root.cert,
          cert: readFileSync(join(dir, 'crt'), 'utf8'),
          key: readFileSync(join(dir, 'key'), 'utf8'),
        };
      }),
  };
}
