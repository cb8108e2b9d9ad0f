/**
 * A self-signed server certificate, X.509 v3 (RFC 5280), ECDSA P-256 with SHA-256, made with nothing but node:crypto.
 *
 * It is an end-entity certificate (`CA:FALSE`, no key usage), so that it can be its own trust anchor: clients put
 * the certificate file into `sslrootcert` and verify in full.
 */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { isIP } from 'node:net';
import { TAG, der, derInteger, derOid } from './der.ts';
import { ipv6Bytes } from './sockaddr.ts';

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

/** RFC 5280 appendix A.1, ub-common-name. */
const MAX_COMMON_NAME_LENGTH = 64;

export interface SelfSignedOptions {
  readonly commonName: string;
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** A new key and its certificate, both PEM. */
export function makeSelfSigned(options: SelfSignedOptions): { key: string; cert: string } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const encoded = certificate(privateKey, options);
  const base64 = encoded
    .toString('base64')
    .replaceAll(/(.{64})/g, '$1\n')
    .trimEnd();
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
  };
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING } */
function certificate(key: KeyObject, options: SelfSignedOptions): Buffer {
  const algorithm = der(TAG.sequence, derOid(OID.ecdsaWithSha256));
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const name = distinguishedName(options.commonName);
  const tbs = der(
    TAG.sequence,
    der(0xa0, derInteger(Buffer.from([2]))), // version v3
    derInteger(serialNumber()),
    algorithm,
    name,
    der(TAG.sequence, time(options.notBefore), time(options.notAfter)),
    name,
    spki,
    der(0xa3, der(TAG.sequence, ...extensions(options.names, spki))),
  );
  return der(TAG.sequence, tbs, algorithm, bitString(sign('sha256', tbs, key)));
}

function extensions(names: readonly string[], spki: Buffer): Buffer[] {
  const altNames = names.map((name) => {
    const family = isIP(name);
    if (family === 4) return der(0x87, Buffer.from(name.split('.').map(Number)));
    return family === 6 ? der(0x87, ipv6Bytes(name)) : der(0x82, Buffer.from(name, 'ascii'));
  });
  const keyId = createHash('sha256').update(spki).digest().subarray(0, 20);
  return [
    extension(OID.basicConstraints, true, der(TAG.sequence)),
    extension(OID.extKeyUsage, false, der(TAG.sequence, derOid(OID.serverAuth))),
    extension(OID.subjectAltName, false, der(TAG.sequence, ...altNames)),
    extension(OID.subjectKeyIdentifier, false, der(TAG.octetString, keyId)),
  ];
}

function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [der(TAG.boolean, Buffer.from([0xff]))] : [];
  return der(TAG.sequence, derOid(oid), ...flag, der(TAG.octetString, value));
}

function distinguishedName(commonName: string): Buffer {
  const text = Buffer.from(commonName.slice(0, MAX_COMMON_NAME_LENGTH), 'utf8');
  const attribute = der(TAG.sequence, derOid(OID.commonName), der(TAG.utf8String, text));
  return der(TAG.sequence, der(TAG.set, attribute));
}

/** Positive, 127 random bits, without leading zero bytes. */
function serialNumber(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0] & 0x7f) | 0x40;
  return serial;
}

/** Until 2049 as UTCTime, later as GeneralizedTime (RFC 5280 §4.1.2.5). */
function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+Z/g, '');
  return date.getUTCFullYear() < 2050
    ? der(TAG.utcTime, Buffer.from(`${digits.slice(2)}Z`, 'ascii'))
    : der(TAG.generalizedTime, Buffer.from(`${digits}Z`, 'ascii'));
}

function bitString(content: Uint8Array): Buffer {
  return der(TAG.bitString, Buffer.from([0]), content);
}
