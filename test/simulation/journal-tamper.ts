/** A small closed journal in memory, for tests that tamper with it. */
import { SimulatedDisk } from '../../src/journal/simulated-disk.ts';
import { parseVerifierKey } from '../../src/journal/note.ts';
import { verifyJournal, type VerifyReport } from '../../src/journal/verify.ts';
import { FOLDER, note, openSimulated } from '../../src/journal/simulated-journal.ts';

export interface Specimen {
  readonly disk: SimulatedDisk;
  readonly publicKey: string;
  /** Path to content; a change to it is a change of the file. */
  readonly files: Map<string, Buffer>;
  readonly segments: string[];
  verify(): VerifyReport;
}

/** `blocks` blocks in at least two segments, signed several times on the way, all signed at the end. */
export function makeSpecimen(
  blocks: number,
  segmentBytes: number,
  encryptionKey: Uint8Array | null = null,
): Specimen {
  const writer = new SimulatedDisk();
  const { appender, link, prepared } = openSimulated(writer, { segmentBytes, encryptionKey });
  for (let i = 1; i < blocks; i++) {
    note(appender, String(i % 10));
    appender.flush();
    if (i === 10 || i === blocks - 3)
      link.step((sealer) => {
        sealer.sync();
        while (sealer.seal(1e9));
        sealer.checkpoint();
      });
  }
  link.sealer.finish();
  const disk = writer.snapshot();
  // The private key has a test of its own; without it each run is faster.
  disk.delete(`${FOLDER}/journal.key`);
  const publicKey = prepared.signer.verifier.text;
  const parsed = parseVerifierKey(publicKey);
  const files = disk.files();
  return {
    disk,
    publicKey,
    files,
    segments: [...files.keys()].filter((path) => path.includes('/segments/')).sort(),
    verify: () => verifyJournal(FOLDER, { publicKey: parsed, disk }),
  };
}

/** Start offsets of a segment's blocks, and its end. */
export function blockOffsets(segment: Buffer): number[] {
  const offsets: number[] = [];
  let at = 256;
  for (; at < segment.length; at += 56 + segment.readUInt32BE(at + 12)) offsets.push(at);
  offsets.push(at);
  return offsets;
}
