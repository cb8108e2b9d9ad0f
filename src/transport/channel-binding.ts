/**
 * Channel binding `tls-server-end-point`: the hash of the server's certificate with the hash of its signature algorithm,
 * SHA-256 where that would be MD5 or SHA-1. https://www.rfc-editor.org/rfc/rfc5929#section-4.1
 */
import { createHash } from 'node:crypto';
import { DerReader } from './der.ts';

/** Signature algorithm OID → hash. RSASSA-PSS names its hash in its parameters. */
const HASH_OF_SIGNATURE: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'sha256', // md5WithRSAEncryption
  '1.2.840.113549.1.1.5': 'sha256', // sha1WithRSAEncryption
  '1.2.840.113549.1.1.14': 'sha224',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.1': 'sha256', // ecdsa-with-SHA1
  '1.2.840.10045.4.3.1': 'sha224',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.2.840.10040.4.3': 'sha256', // dsa-with-sha1
  '2.16.840.1.101.3.4.3.2': 'sha256', // dsa-with-sha256
};

const RSASSA_PSS = '1.2.840.113549.1.1.10';
const HASH_OID: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha256', // sha1
  '2.16.840.1.101.3.4.2.4': 'sha224',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};

const cache = new Map<string, Uint8Array>();
const MAX_CACHED = 256;

/**
 * @param certificate DER.
 * @returns the hash; empty where RFC 5929 defines none (Ed25519 and Ed448 certificates): channel binding cannot be
 *   offered then.
 */
export function serverEndPoint(certificate: Uint8Array): Uint8Array {
  const key = createHash('sha256').update(certificate).digest('latin1');
  const known = cache.get(key);
  if (known !== undefined) return known;
  const hash = signatureHash(certificate);
  const value = hash === null ? new Uint8Array() : createHash(hash).update(certificate).digest();
  if (cache.size >= MAX_CACHED) cache.clear();
  cache.set(key, value);
  return value;
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signatureValue } */
function signatureHash(certificate: Uint8Array): string | null {
  const fields = new DerReader(certificate).sequence();
  fields.skip();
  const algorithm = fields.sequence();
  const oid = algorithm.oid();
  if (oid !== RSASSA_PSS) return HASH_OF_SIGNATURE[oid] ?? null;
  // RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, … }  (RFC 4055 §3.1)
  const parameters = algorithm.sequence();
  if (parameters.isAtEnd || parameters.peekTag() !== 0xa0) return 'sha256';
  return HASH_OID[parameters.explicit(0).sequence().oid()] ?? null;
}
