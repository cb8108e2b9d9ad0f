/**
 * Signed notes (c2sp.org/signed-note), checkpoints (c2sp.org/tlog-checkpoint) and witness cosignatures
 * (c2sp.org/tlog-cosignature, Ed25519). Parsing is strict: what we accept is exactly what we would have written, so
 * that no byte of a checkpoint can change unnoticed.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { HASH_BYTES } from './tree.ts';

const TYPE_ED25519 = 0x01;
const TYPE_COSIGNATURE = 0x04;
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex');
const MAX_NOTE_BYTES = 64 * 1024;
const MAX_SIGNATURES = 64;

/** A key that notes are checked with: a vkey, parsed. */
export interface VerifierKey {
  readonly name: string;
  /** 4 bytes. */
  readonly id: Buffer;
  readonly type: number;
  readonly key: KeyObject;
  /** `name+hash+base64`, as given. */
  readonly text: string;
}

export interface SignerKey {
  readonly verifier: VerifierKey;
  readonly key: KeyObject;
  /** `PRIVATE+KEY+name+hash+base64`: what the key file holds. Secret. */
  readonly text: string;
}

export interface NoteSignature {
  readonly name: string;
  /** 4 bytes of key id and the signature. */
  readonly bytes: Buffer;
  /** The whole line with its newline. */
  readonly line: string;
}

export interface Note {
  /** What is signed, with its final newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  readonly note: Note;
}

function keyId(name: string, type: number, publicKey: Uint8Array): Buffer {
  return createHash('sha256')
    .update(`${name}\n`)
    .update(Uint8Array.of(type))
    .update(publicKey)
    .digest()
    .subarray(0, 4);
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_ED25519, raw]), format: 'der', type: 'spki' });
}

function verifierOf(name: string, type: number, raw: Buffer): VerifierKey {
  const id = keyId(name, type, raw);
  const encoded = Buffer.concat([Uint8Array.of(type), raw]).toString('base64');
  return { name, id, type, key: publicKeyOf(raw), text: `${name}+${id.toString('hex')}+${encoded}` };
}

function signerOf(name: string, seed: Buffer): SignerKey {
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_ED25519, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const raw = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(SPKI_ED25519.length);
  const verifier = verifierOf(name, TYPE_ED25519, raw);
  const encoded = Buffer.concat([Uint8Array.of(TYPE_ED25519), seed]).toString('base64');
  return { verifier, key, text: `PRIVATE+KEY+${name}+${verifier.id.toString('hex')}+${encoded}` };
}

/** A new key pair. `name` becomes the journal's origin; no spaces, no plus. */
export function generateKey(name: string): SignerKey {
  checkName(name);
  return signerOf(name, randomBytes(32));
}

export function parseSignerKey(text: string): SignerKey {
  const found = /^PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(text.trim());
  const raw = Buffer.from(found?.[3] ?? '', 'base64');
  if (found === null || raw.length !== 33 || raw[0] !== TYPE_ED25519)
    throw keyError('the private key is not in the form PRIVATE+KEY+name+hash+base64');
  const signer = signerOf(found[1], raw.subarray(1));
  if (signer.text !== text.trim()) throw keyError('the private key is damaged: its hash does not match');
  return signer;
}

/** Parses `name+hash+base64` of an Ed25519 note key or of a witness's cosignature key. Throws `invalid`. */
export function parseVerifierKey(text: string): VerifierKey {
  const found = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(text.trim());
  const raw = Buffer.from(found?.[3] ?? '', 'base64');
  if (found === null || raw.length !== 33 || (raw[0] !== TYPE_ED25519 && raw[0] !== TYPE_COSIGNATURE))
    throw keyError('a public key has the form name+hash+base64, as in the file journal.pub');
  const verifier = verifierOf(found[1], raw[0], raw.subarray(1));
  if (verifier.text !== text.trim()) throw keyError('the public key is damaged: its hash does not match');
  return verifier;
}

function keyError(message: string): AppError {
  return new AppError('invalid', 'JOURNAL_KEY_INVALID', message);
}

function checkName(name: string): void {
  if (!/^[\x21-\x2a\x2c-\x7e]{1,160}$/.test(name))
    throw keyError(
      'the journal’s origin must be 1 to 160 ASCII characters without spaces and without a plus sign',
    );
}

/** The note of `text` (ends in a newline) with one signature. */
export function signNote(text: string, signer: SignerKey): string {
  const signature = Buffer.concat([signer.verifier.id, sign(null, Buffer.from(text), signer.key)]);
  return `${text}\n— ${signer.verifier.name} ${signature.toString('base64')}\n`;
}

/** A cosignature line as a witness returns it. `timeS` in seconds since 1970. For witnesses, that is: for tests. */
export function cosignatureLine(text: string, name: string, key: KeyObject, timeS: number): string {
  const raw = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(SPKI_ED25519.length);
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(timeS));
  const signature = sign(null, Buffer.from(`cosignature/v1\ntime ${timeS}\n${text}`), key);
  const bytes = Buffer.concat([keyId(name, TYPE_COSIGNATURE, raw), time, signature]);
  return `— ${name} ${bytes.toString('base64')}\n`;
}

/** The vkey of a cosignature key. */
export function cosignatureVerifier(name: string, key: KeyObject): VerifierKey {
  const raw = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(SPKI_ED25519.length);
  return verifierOf(name, TYPE_COSIGNATURE, raw);
}

/** The note, or what is wrong with its form. Signatures are not checked. */
export function parseNote(bytes: Uint8Array): Note | string {
  if (bytes.length > MAX_NOTE_BYTES) return 'it is too long for a signed note';
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  if (!Buffer.from(whole).equals(bytes)) return 'it is not UTF-8';
  // oxlint-disable-next-line no-control-regex -- the specification forbids them
  if (/[\x00-\x09\x0b-\x1f]/.test(whole)) return 'it contains control characters';
  const split = whole.lastIndexOf('\n\n');
  if (split < 0 || !whole.endsWith('\n')) return 'it has no signatures';
  const signatures: NoteSignature[] = [];
  for (const line of whole.slice(split + 2, -1).split('\n')) {
    const found = /^— ([^\s+]+) ([A-Za-z0-9+/]+=*)$/.exec(line);
    const raw = Buffer.from(found?.[2] ?? '', 'base64');
    if (found === null || raw.length < 5 || raw.toString('base64') !== found[2])
      return 'it has a malformed signature line';
    signatures.push({ name: found[1], bytes: raw, line: `${line}\n` });
  }
  if (signatures.length === 0 || signatures.length > MAX_SIGNATURES)
    return 'it has no signature, or too many';
  return { text: whole.slice(0, split + 1), signatures };
}

export type SignatureState = 'valid' | 'wrong' | 'foreign';

/** Whether a signature claims to be made by a key. */
export function isOf(signature: NoteSignature, key: VerifierKey): boolean {
  return signature.name === key.name && signature.bytes.subarray(0, 4).equals(key.id);
}

/** `foreign`: made by another key. */
export function checkSignature(text: string, signature: NoteSignature, key: VerifierKey): SignatureState {
  if (!isOf(signature, key)) return 'foreign';
  if (key.type === TYPE_ED25519)
    return verify(null, Buffer.from(text), key.key, signature.bytes.subarray(4)) ? 'valid' : 'wrong';
  if (signature.bytes.length !== 4 + 8 + 64) return 'wrong';
  const timeS = signature.bytes.readBigUInt64BE(4);
  const message = Buffer.from(`cosignature/v1\ntime ${timeS}\n${text}`);
  return verify(null, message, key.key, signature.bytes.subarray(12)) ? 'valid' : 'wrong';
}

export function checkpointText(origin: string, size: number, root: Uint8Array): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`;
}

/** The checkpoint in a note, or what is wrong with its form. Signatures are not checked. */
export function parseCheckpoint(bytes: Uint8Array): Checkpoint | string {
  const note = parseNote(bytes);
  if (typeof note === 'string') return note;
  const [origin, sizeText, rootText, ...rest] = note.text.slice(0, -1).split('\n');
  const size = Number(sizeText);
  const root = Buffer.from(rootText ?? '', 'base64');
  if (rest.length > 0 || !Number.isSafeInteger(size) || root.length !== HASH_BYTES)
    return 'it is not a checkpoint';
  if (checkpointText(origin, size, root) !== note.text) return 'it is not a checkpoint in canonical form';
  return { origin, size, root, note };
}

/** The checkpoint, its form and the log's signature checked; or what is wrong. */
export function openCheckpoint(bytes: Uint8Array, key: VerifierKey): Checkpoint | string {
  const checkpoint = parseCheckpoint(bytes);
  if (typeof checkpoint === 'string') return checkpoint;
  if (checkpoint.origin !== key.name) return `it is of the journal ${checkpoint.origin}, not of ${key.name}`;
  const states = checkpoint.note.signatures.map((one) => checkSignature(checkpoint.note.text, one, key));
  if (states.includes('wrong')) return 'its signature is wrong';
  if (!states.includes('valid')) return 'it is not signed with the given key';
  return checkpoint;
}
