import { Type } from 'typebox';

export const JournalCheckpoint = Type.Object({
  origin: Type.String({ description: 'the name of the journal' }),
  size: Type.Integer({ description: 'entries that the checkpoint covers' }),
  root_hash: Type.String({ description: 'of the RFC 6962 tree over them, base64' }),
  note: Type.String({ description: 'the checkpoint itself, a C2SP signed note' }),
  verifier_key: Type.String({ description: 'the key to check it with, C2SP vkey' }),
});

export const Proof = Type.Object(
  {},
  { additionalProperties: true, description: 'A proof file, for "dbwitness verify-proof"' },
);

export const Health = Type.Object({ status: Type.Literal('ok'), version: Type.String() });

export const Ready = Type.Object({
  status: Type.Union([Type.Literal('ready'), Type.Literal('not ready')]),
  checks: Type.Record(Type.String(), Type.String()),
});
