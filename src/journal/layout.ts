/**
 * Names of the files in a journal's folder.
 *
 *   journal.key              private note key, mode 0600           log/checkpoint             the signed head
 *   journal.pub              its public key (vkey)                 log/checkpoint.cosigned    the newest with cosignatures
 *   journal.state            how far tiles are known durable       log/tile/<L>/<N>[.p/<W>]   hashes (c2sp.org/tlog-tiles)
 *   lock                     who writes                            log/tile/entries/<N>[…]    entries
 *   segments/<block>.dbwj    the records                           quarantine/                what recovery cut off
 */
import { segmentName } from './format.ts';

export interface Layout {
  readonly folder: string;
  readonly segments: string;
  readonly quarantine: string;
  readonly log: string;
  readonly checkpoint: string;
  readonly cosigned: string;
  readonly privateKey: string;
  readonly publicKey: string;
  readonly state: string;
  readonly lock: string;
  /** A segment that is being made, not yet one. */
  readonly draftSegment: string;
}

export function layoutOf(folder: string): Layout {
  return {
    folder,
    segments: `${folder}/segments`,
    quarantine: `${folder}/quarantine`,
    log: `${folder}/log`,
    checkpoint: `${folder}/log/checkpoint`,
    cosigned: `${folder}/log/checkpoint.cosigned`,
    privateKey: `${folder}/journal.key`,
    publicKey: `${folder}/journal.pub`,
    state: `${folder}/journal.state`,
    lock: `${folder}/lock`,
    draftSegment: `${folder}/segments/next.tmp`,
  };
}

export function segmentPath(layout: Layout, firstBlock: number): string {
  return `${layout.segments}/${segmentName(firstBlock)}`;
}

/** `x001/x234/067` */
export function tileNumber(index: number): string {
  let path = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  return path;
}

/** Path of a full tile; `level` may be `entries`. */
export function tilePath(layout: Layout, level: number | 'entries', index: number): string {
  return `${layout.log}/tile/${level}/${tileNumber(index)}`;
}

export function partialFolder(layout: Layout, level: number | 'entries', index: number): string {
  return `${tilePath(layout, level, index)}.p`;
}

export function partialPath(layout: Layout, level: number | 'entries', index: number, width: number): string {
  return `${partialFolder(layout, level, index)}/${width}`;
}
